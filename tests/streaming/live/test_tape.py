"""A live tape in the end gives the rows of the batch functions."""

import datetime as dt

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapewatch.features.microstructure import microstructure
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Market, Session, session_of
from tapewatch.market.tables.live import LIVE_BARS, LIVE_MICROSTRUCTURE
from tapewatch.streaming.live.tape import LiveTape
from tests.support.live import assert_as_batch, chunks, fed, final, streamed
from tests.support.tapes import random_tape, stock_session, tape_of

SESSION = stock_session()
FEW = settings(max_examples=6, deadline=None)
SEEDS = st.integers(0, 10_000)
PARTS = st.sampled_from([1, 20, 100_000])
SYMBOLS = ("A", "B", "C")


def small_tape(seed: int, session: Session = SESSION) -> tuple[pl.DataFrame, pl.DataFrame]:
    return random_tape(seed, SYMBOLS, trades=250, quotes=400, minutes=70, session=session)


def shuffled(frame: pl.DataFrame, seed: int, seconds: float) -> pl.DataFrame:
    """Rows in order of arrival, each delayed at random by up to `seconds`."""
    delay = np.random.default_rng(seed).integers(0, round(seconds * NS_PER_SECOND) + 1, frame.height)
    arrival = frame["time"].to_physical() + pl.Series(delay)
    return frame[np.argsort(arrival.to_numpy(), kind="stable")]


def dealt(trades: pl.DataFrame, quotes: pl.DataFrame, pieces: int) -> list[tuple[pl.DataFrame, pl.DataFrame]]:
    """Both tables cut into as many pieces, paired in order."""
    cuts = [np.linspace(0, frame.height, pieces + 1).astype(int) for frame in (trades, quotes)]
    return [(trades[cuts[0][i] : cuts[0][i + 1]], quotes[cuts[1][i] : cuts[1][i + 1]]) for i in range(pieces)]


@pytest.mark.slow
@FEW
@given(SEEDS, st.integers(1, 700), st.integers(0, 90), PARTS)
def test_any_pieces_give_what_the_whole_gives(seed, size, lateness, part_ticks) -> None:
    trades, quotes = small_tape(seed)
    tape = LiveTape(SESSION, part_ticks=part_ticks)
    emitted = fed(tape, chunks(*streamed(trades, quotes), size), lateness * NS_PER_SECOND)
    assert_as_batch(emitted, trades, quotes, SESSION)
    for rows in emitted:
        LIVE_BARS.check(rows.second_bars)
        LIVE_BARS.check(rows.minute_bars)
        LIVE_MICROSTRUCTURE.check(rows.microstructure)


@pytest.mark.long
@FEW
@given(SEEDS, st.floats(0.5, 900), st.integers(2, 120), PARTS)
def test_order_of_arrival_within_the_horizon_does_not_matter(seed, seconds, pieces, part_ticks) -> None:
    trades, quotes = small_tape(seed)
    arrived = [shuffled(frame, seed, seconds) for frame in streamed(trades, quotes)]
    tape = LiveTape(SESSION, part_ticks=part_ticks)
    assert_as_batch(fed(tape, dealt(*arrived, pieces)), trades, quotes, SESSION)
    assert tape.too_late == 0


@pytest.mark.long
@FEW
@given(SEEDS, st.integers(1, 500))
def test_a_tick_delivered_twice_counts_once(seed, size) -> None:
    trades, quotes = small_tape(seed)
    generator = np.random.default_rng(seed)
    pieces = list(chunks(*streamed(trades, quotes), size))
    once_more = [pieces[at] for at in sorted([*range(len(pieces)), *generator.integers(0, len(pieces), 5)])]
    tape = LiveTape(SESSION, horizon_minutes=100)
    assert_as_batch(fed(tape, once_more), trades, quotes, SESSION)
    assert tape.duplicates == sum(t.height + q.height for t, q in once_more) - trades.height - quotes.height
    assert tape.corrections == 0


@pytest.mark.long
@FEW
@given(SEEDS, st.integers(10, 500), st.booleans(), PARTS)
def test_a_corrected_tape_equals_the_tape_of_the_corrections(seed, size, moves, part_ticks) -> None:
    """Prices change, trades are withdrawn and restored, and some move to another time."""
    trades, quotes = small_tape(seed)
    generator = np.random.default_rng(seed)
    wrong = generator.random(trades.height) < 0.2
    shift = generator.integers(-90, 90, trades.height) * NS_PER_SECOND * (wrong & moves)
    first = trades.with_columns(
        price=pl.when(pl.Series(wrong)).then(pl.col("price") * 1.01).otherwise("price"),
        correction=pl.when(pl.Series(wrong & (generator.random(trades.height) < 0.3)))
        .then(pl.lit(8, pl.Int8))
        .otherwise("correction"),
        time=(pl.col("time").to_physical() + pl.Series(shift)).cast(pl.Datetime("ns", "UTC")),
    )
    late_trades, late_quotes = streamed(trades.filter(pl.Series(wrong)), quotes[:0])
    arrived = streamed(first, quotes)
    pieces = [*chunks(*arrived, size), *dealt(late_trades, late_quotes, 4)]
    tape = LiveTape(SESSION, horizon_minutes=100, part_ticks=part_ticks)
    assert_as_batch(fed(tape, pieces), trades, quotes, SESSION)
    assert tape.corrections == wrong.sum()


@FEW
@given(SEEDS, st.integers(-10 * 60, 50 * 60))
def test_emitted_rows_do_not_depend_on_the_future(seed, seconds) -> None:
    trades, quotes = small_tape(seed)
    cut = SESSION.regular_start + seconds * NS_PER_SECOND
    is_past = pl.col("time").to_physical() < cut
    tape = LiveTape(SESSION, symbols=SYMBOLS)
    tape.push(*streamed(trades.filter(is_past), quotes.filter(is_past)))
    rows = tape.advance(cut).microstructure.drop("revision").sort(pl.col("symbol").cast(pl.String), "event_time")
    whole = microstructure(trades, quotes, SESSION, symbols=SYMBOLS)
    assert rows.equals(whole.filter(pl.col("known_time").to_physical() <= cut))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("market", "date"),
    [
        (Market.STOCKS, dt.date(2015, 12, 24)),
        (Market.STOCKS, dt.date(2024, 3, 11)),
        (Market.CRYPTO, dt.date(2024, 3, 10)),
        (Market.CRYPTO, dt.date(2024, 11, 3)),
        (Market.OPTIONS, dt.date(2024, 3, 5)),
        (Market.FUTURES, dt.date(2024, 3, 5)),
    ],
)
def test_half_days_changes_of_the_clock_and_other_markets(market, date) -> None:
    session = session_of(market, date)
    trades, quotes = random_tape(5, SYMBOLS, session=session, trades=200, quotes=300)
    trades, quotes = streamed(trades, quotes)
    if market is Market.CRYPTO:
        trades = trades.with_columns(
            id=pl.col("sequence_number").cast(pl.String).str.zfill(6), conditions=pl.lit("1").cast(pl.Categorical)
        )
    stripped = [trades, quotes]
    if market is Market.CRYPTO:
        stripped = [frame.with_columns(sequence_number=pl.lit(None, pl.Int64)) for frame in stripped]
    emitted = fed(LiveTape(session), chunks(*stripped, 40))
    order = [pl.col("symbol").cast(pl.String), "time", "sequence_number"]
    assert_as_batch(emitted, trades.sort(order), quotes.sort(order), session)


def test_forex_has_only_quotes_and_every_one_counts() -> None:
    session = session_of(Market.FOREX, dt.date(2024, 3, 6))
    _, quotes = random_tape(1, ("C:EUR-USD",), session=session)
    quotes = quotes.with_columns(pl.lit(None, pl.Float64).alias("bid_size"), pl.lit(None, pl.Float64).alias("ask_size"))
    trades, arrived = streamed(tape_of()[0], quotes)
    arrived = arrived.with_columns(sequence_number=pl.lit(None, pl.Int64))
    tape = LiveTape(session)
    assert_as_batch(fed(tape, chunks(trades, arrived, 100)), trades, quotes, session)
    assert tape.duplicates == 0


@pytest.mark.long
def test_crypto_trades_of_one_instant_are_ordered_by_exchange_and_id() -> None:
    session = session_of(Market.CRYPTO, dt.date(2024, 3, 5))
    ids = ["9", "10", "100", "11", "2"]
    trades, quotes = tape_of([(1, 10 + at, 1) for at in range(5)], session=session, symbol="X:BTC-USD")
    trades = trades.with_columns(
        id=pl.Series(ids), exchange=pl.Series([2, 2, 2, 2, 1], dtype=pl.Int16), sequence_number=pl.lit(None, pl.Int64)
    )
    emitted = fed(LiveTape(session), [streamed(trades, quotes)])
    (bar,) = final(emitted)[1].to_dicts()
    assert (bar["open"], bar["close"]) == (14, 10)


@pytest.mark.long
@FEW
@given(SEEDS, st.integers(1, 300), st.booleans())
def test_trades_that_share_a_number_or_have_none_all_count_and_a_repeat_does_not(seed, size, is_again) -> None:
    trades, quotes = small_tape(seed)
    dice = np.random.default_rng(seed)
    # Pairs share a number, on two exchanges or with two ids; a tenth has none, each at a time of its own.
    trades = trades.with_columns(
        sequence_number=pl.when(pl.Series(dice.random(trades.height) < 0.1))
        .then(0)
        .otherwise(pl.col("sequence_number") // 2 + 1),
        exchange=pl.Series(dice.integers(1, 3, trades.height), dtype=pl.Int16),
        id=pl.col("sequence_number").cast(pl.String).str.zfill(4),
        time=pl.col("time") + pl.duration(nanoseconds=pl.int_range(pl.len())),
    )
    pieces = list(chunks(*streamed(trades, quotes), size))
    again = [(t.filter(pl.col("sequence_number") > 0), q[:0]) for t, q in pieces[::3]] if is_again else []
    tape = LiveTape(SESSION, horizon_minutes=100)
    assert_as_batch(fed(tape, [*pieces, *again]), trades, quotes, SESSION)
    assert tape.duplicates == sum(t.height for t, _ in again)
    assert tape.corrections == 0


def test_trades_of_one_number_and_time_are_told_apart_by_exchange_and_id() -> None:
    trades, quotes = tape_of([(1, 10, size) for size in (1, 2, 4, 8)])
    trades = trades.with_columns(
        sequence_number=pl.lit(7, pl.Int64),
        exchange=pl.Series([1, 1, 2, 2], dtype=pl.Int16),
        id=pl.Series(["a", "b", "a", None]),
    )
    arrived, none = streamed(trades, quotes)
    tape = LiveTape(SESSION)
    changed = arrived[1:2].with_columns(size=pl.lit(16.0))
    for piece in (arrived, arrived[::-1], changed):
        tape.push(piece, none)
    (bar,) = final([tape.close()])[1].to_dicts()
    assert (bar["volume"], tape.duplicates, tape.corrections) == (29, 4, 1)


@pytest.mark.parametrize("market", [Market.OPTIONS, Market.FUTURES])
def test_equal_trades_of_one_packet_count_each_and_a_later_frame_of_them_does_not(market) -> None:
    session = session_of(market, dt.date(2024, 3, 5))
    trades, quotes = tape_of([(1, 10, 1), (1, 10, 1), (1, 10, 2), (2, 10, 4), (2, 10, 4)], session=session)
    arrived, none = streamed(trades.with_columns(sequence_number=pl.Series([7, 7, 7, 0, 0])), quotes)
    tape = LiveTape(session)
    for piece in (arrived, arrived[:3]):
        tape.push(piece, none)
    (bar,) = final([tape.close()])[1].to_dicts()
    assert (bar["volume"], tape.duplicates) == (12, 3)


def test_at_one_time_trades_come_before_quotes() -> None:
    trades, quotes = small_tape(3)
    trades, quotes = (frame.with_columns(pl.col("time").dt.truncate("1s")) for frame in (trades, quotes))
    emitted = fed(LiveTape(SESSION), [(t, q) for t, q in chunks(*streamed(trades, quotes), 60)])
    assert_as_batch(emitted, trades, quotes, SESSION)


def test_a_late_trade_raises_the_revision_of_what_it_changes_and_of_nothing_else() -> None:
    trades, quotes = tape_of([(second, 10, 1) for second in range(0, 240, 10)])
    arrived, none = streamed(trades, quotes)
    is_late = pl.col("sequence_number") == 13
    tape = LiveTape(SESSION)
    tape.push(arrived.filter(~is_late), none)
    tape.advance(SESSION.regular_start + 240 * NS_PER_SECOND)
    tape.push(arrived.filter(is_late), none)
    assert tape.advance(SESSION.regular_start + 240 * NS_PER_SECOND).minute_bars.is_empty()
    rows = tape.advance(SESSION.regular_start + 241 * NS_PER_SECOND)
    (second,) = rows.second_bars.to_dicts()
    assert (second["revision"], second["volume"]) == (0, 1)
    assert second["known_time"].timestamp() == SESSION.regular_start / NS_PER_SECOND + 241
    (bar,) = rows.minute_bars.to_dicts()
    assert (bar["revision"], bar["volume"]) == (1, 6)
    assert bar["known_time"] == second["known_time"]
    assert rows.microstructure.select("session_minute", "revision").rows() == [(2, 1)]
    assert tape.advance(SESSION.regular_start + 242 * NS_PER_SECOND).minute_bars.is_empty()


def test_a_bar_whose_trades_are_all_withdrawn_is_removed_and_comes_back_as_a_later_revision() -> None:
    arrived, none = streamed(*tape_of([(1, 10, 5), (70, 11, 5)]))
    tape = LiveTape(SESSION)
    tape.push(arrived, none)
    tape.advance(SESSION.regular_start + 180 * NS_PER_SECOND)
    tape.push(arrived.tail(1).with_columns(correction=pl.lit(8, pl.Int8)), none)
    rows = tape.advance(SESSION.regular_start + 181 * NS_PER_SECOND)
    assert rows.minute_bars.is_empty()
    assert rows.second_bars.is_empty()
    assert rows.withdrawn_bars.select(pl.col("clock").cast(pl.String)).to_series().to_list() == ["1s", "1m"]
    tape.push(arrived.tail(1), none)
    back = tape.advance(SESSION.regular_start + 182 * NS_PER_SECOND)
    assert back.minute_bars.select("revision", "volume").rows() == [(2, 5.0)]


def test_a_trade_moved_twice_in_one_piece_counts_at_its_last_time() -> None:
    arrived, none = streamed(*tape_of([(1, 10, 5), (70, 10, 5), (2, 10, 5)]))
    arrived = arrived.sort("sequence_number").with_columns(sequence_number=pl.lit(7, pl.Int64))
    for count, second in ((2, 70), (3, 2)):
        tape = LiveTape(SESSION)
        (bar,) = final(fed(tape, [(arrived.head(count), none)]))[0].to_dicts()
        assert bar["time"].timestamp() == SESSION.regular_start / NS_PER_SECOND + second
        assert tape.corrections == count - 1


def test_ticks_too_late_or_of_another_day_are_counted_and_left_out() -> None:
    arrived, none = streamed(*tape_of([(0, 10, 1), (1800, 11, 1), (1, 12, 1), (-86400, 13, 1)]))
    tape = LiveTape(SESSION, horizon_minutes=20)
    tape.push(arrived.filter(pl.col("price") == 11), none)
    tape.advance(tape.last_time_ns)
    tape.push(arrived, none)
    assert (tape.too_late, tape.outside_day) == (2, 1)
    emitted = tape.close()
    assert emitted.minute_bars.height == 1
    assert tape.duplicates == 1


def test_watched_symbols_have_rows_without_ticks_and_others_join_with_all_missing_rows() -> None:
    trades, quotes = small_tape(9)
    late = trades.filter(
        (pl.col("symbol") != "C") | (pl.col("time").to_physical() > SESSION.regular_start + 40 * NS_PER_MINUTE)
    )
    late_quotes = quotes.filter(pl.col("symbol") != "C")
    emitted = fed(LiveTape(SESSION, symbols=["IDLE"]), chunks(*streamed(late, late_quotes), 25))
    assert_as_batch(emitted, late, late_quotes, SESSION, symbols=["A", "B", "C", "IDLE"])
    assert final(emitted)[2]["revision"].max() == 0


def test_a_tape_played_back_emits_only_the_rows_asked_for() -> None:
    trades, quotes = small_tape(4)
    since = SESSION.regular_start + 20 * NS_PER_MINUTE
    emitted = fed(LiveTape(SESSION, emit_from_ns=since), chunks(*streamed(trades, quotes), 300))
    whole = microstructure(trades, quotes, SESSION)
    assert final(emitted)[2].drop("revision").equals(whole.filter(pl.col("event_time").to_physical() >= since))


@pytest.mark.long
def test_memory_is_bounded_by_the_horizon_and_by_the_number_of_ticks() -> None:
    trades, quotes = random_tape(1, ("A", "B"), trades=30_000, quotes=60_000, minutes=600)
    tape, busy = LiveTape(SESSION, horizon_minutes=10), LiveTape(SESSION, horizon_minutes=60, max_ticks=2_000)
    held, held_busy = [], []
    for piece in chunks(*streamed(trades, quotes), 1_000):
        for each, count in ((tape, held), (busy, held_busy)):
            each.push(*piece)
            each.advance(each.last_time_ns)
            count.append(each.held_ticks)
    a_minute = 2 * 90_000 / 600
    assert max(held) < 1_000 + 11 * a_minute * 1.5
    assert max(held_busy) < 2_000 + 1_000 + a_minute * 2
