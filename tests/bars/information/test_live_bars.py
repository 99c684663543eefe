"""Live bars of other clocks equal those of the batch: cut anywhere, late, corrected, over midnight, killed and resumed."""

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tapewatch.bars.information.build import InformationBars
from tapewatch.bars.information.clocks import Clock, Thresholds
from tapewatch.bars.information.live import LiveInformationBars
from tapewatch.feeds.stream.decode.decoder import StreamBatch
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Market, Partition
from tapewatch.market.tables.derived import INFORMATION_BARS, INFORMATION_STATES
from tapewatch.market.tables.live import LIVE_INFORMATION_BARS
from tapewatch.market.tables.stream import STREAM_QUOTES, STREAM_TRADES
from tapewatch.market.tables.tape import TIME, TRADES
from tapewatch.store.database.database import Database
from tapewatch.store.lake.lake import Lake
from tapewatch.store.spool.spool import SpoolWriter
from tapewatch.streaming.live.day_tapes import DayTapes
from tapewatch.streaming.live.open_bars import OpenBars
from tapewatch.streaming.live.playback import resumed_tape
from tapewatch.streaming.live.tape import LiveRows, LiveTape
from tests.support.live import chunks, fed, streamed
from tests.support.synthetic_days import days, synthetic_day
from tests.support.tapes import random_tape, stock_session

SESSION = stock_session()
SYMBOLS = ("A", "B", "C")
CLOCKS = (Clock.TICK, Clock.DOLLAR, Clock.VOLUME_IMBALANCE)
FEW = Thresholds(trades=20, memory=5)
_TEXT = pl.selectors.categorical().cast(pl.String)


def at_once(tapes: list[pl.DataFrame], sessions: list, clocks=CLOCKS, thresholds: Thresholds = FEW) -> pl.DataFrame:
    """The bars of the last day by the batch's code."""
    found = []
    for clock in clocks:
        bars = InformationBars(clock, thresholds)
        *_, last = (bars.add(trades.sort(TRADES.sort), day) for trades, day in zip(tapes, sessions, strict=True))
        found.append(last)
    return plain(pl.concat(found))


def plain(bars: pl.DataFrame) -> pl.DataFrame:
    return bars.with_columns(_TEXT).drop("known_time").sort("symbol", "clock", "number")


def write(database: Database, partition: Partition, rows: LiveRows) -> None:
    """As the collector does."""
    for change in rows.changes:
        LIVE_INFORMATION_BARS.check(change.rows)
        database.upsert(change.table, partition, change.rows)
        database.remove(change.table, partition, change.withdrawn)


def held(outputs: list[LiveRows]) -> pl.DataFrame:
    """What a reader holds who applies the changes in their order."""
    found: dict[tuple, dict] = {}
    for rows in outputs:
        for change in rows.changes:
            for row in change.rows.with_columns(_TEXT).iter_rows(named=True):
                found[tuple(row[name] for name in LIVE_INFORMATION_BARS.key)] = row
            for key in change.withdrawn.with_columns(_TEXT).iter_rows():
                del found[key]
    return plain(LIVE_INFORMATION_BARS.conform(pl.DataFrame(list(found.values()), infer_schema_length=None)))


@pytest.mark.parametrize(("seed", "size", "late_s"), [(1, 23, 0), (2, 60, 400), (3, 400, 90)])
def test_any_pieces_in_any_order_give_what_the_batch_gives(seed: int, size: int, late_s: int) -> None:
    trades, quotes = random_tape(seed, SYMBOLS, trades=800, quotes=5, minutes=60, session=SESSION)
    some_trades, no_quotes = streamed(trades, quotes[:0])
    delay = np.random.default_rng(seed).integers(0, late_s * NS_PER_SECOND + 1, some_trades.height)
    arrived = some_trades[np.argsort(some_trades["time"].to_physical().to_numpy() + delay, kind="stable")]
    tape = LiveTape(SESSION, information=LiveInformationBars(SESSION, CLOCKS, FEW))
    outputs = fed(tape, [(arrived[at : at + size], no_quotes) for at in range(0, arrived.height, size)])
    assert tape.too_late == 0
    expected = at_once([trades], [SESSION])
    assert expected.height > 60
    assert_frame_equal(held(outputs), expected, check_exact=True)
    emitted = pl.concat([change.rows for rows in outputs for change in rows.changes])
    is_later = emitted["known_time"] > emitted["end_time"]
    assert is_later.any() == (late_s > 0)
    assert (emitted["known_time"] >= emitted["end_time"]).all()


def test_a_corrected_trade_moves_the_bars_after_it() -> None:
    trades, quotes = random_tape(6, ("A",), trades=300, quotes=5, minutes=15, session=SESSION)
    some_trades, no_quotes = streamed(trades, quotes[:0])
    tape = LiveTape(SESSION, information=LiveInformationBars(SESSION, (Clock.TICK,), FEW))
    outputs = []
    for piece in chunks(some_trades, no_quotes, 40):
        tape.push(*piece)
        outputs.append(tape.advance(tape.last_time_ns))
    wrong = some_trades.filter((pl.col("correction") == 0) & (pl.col("conditions").cast(pl.String) == ""))[60:61]
    tape.push(wrong.with_columns(correction=pl.lit(8, dtype=wrong.schema["correction"])), no_quotes)
    outputs.append(tape.close())
    changed = outputs[-1].changes[0]
    assert changed.rows.height > 1
    left = trades.join(wrong, on="sequence_number", how="anti")
    assert_frame_equal(held(outputs), at_once([left], [SESSION], (Clock.TICK,)), check_exact=True)


@pytest.mark.parametrize("is_built", [True, False])
def test_killed_and_resumed_equals_undisturbed(tmp_path: Path, is_built: bool) -> None:
    """The open bars come from the lake, or from the trades of the day before where the lake has no bars of it."""
    clocks, market = (Clock.TICK, Clock.DOLLAR), Market.CRYPTO
    before, today = (synthetic_day(market, day) for day in days(market)[:2])
    partition = Partition(today.session.date, market)
    # A market of three symbols, which keep the test short.
    some = pl.col("symbol").cast(pl.String).is_in(sorted(before.trades["symbol"].cast(pl.String).unique())[:3])
    trades_before, trades_of_day = before.trades.filter(some), today.trades.filter(some)
    lake, spool_root = Lake(tmp_path / "lake"), tmp_path / "spool"
    if is_built:
        bars = [InformationBars(clock) for clock in clocks]
        for clock in bars:
            clock.add(trades_before, before.session)
        states = pl.concat([clock.save() for clock in bars]).sort(pl.col("symbol").cast(pl.String), "clock")
        lake.write(INFORMATION_STATES, Partition(before.session.date, market), states)
    else:
        lake.write(TRADES, Partition(before.session.date, market), trades_before)
    trades, _ = streamed(trades_of_day, today.quotes[:0])
    quotes = STREAM_QUOTES.empty()
    times = trades["time"].to_physical()
    left_at = int(times[trades.height // 2])
    early, late = trades.filter(times <= left_at), trades.filter(times > left_at)
    open_bars = OpenBars(spool_root, lake, clocks)
    with Database(f"sqlite:///{tmp_path / 'live.db'}") as database:
        first = LiveTape(today.session, information=open_bars.live(today.session))
        with SpoolWriter(spool_root, market, "collector") as spool:
            spool.add(StreamBatch(trades=early, quotes=quotes))
        first.push(early, quotes)
        write(database, partition, first.advance(left_at))
        # The first process is killed here: only spool and database are left.
        again = resumed_tape(today.session, left_at, spool_root, lake, information=open_bars.live(today.session))
        for start in range(0, late.height, 5_000):
            again.push(late[start : start + 5_000], quotes)
            write(database, partition, again.advance(again.last_time_ns))
        write(database, partition, again.close())
        found = database.read(LIVE_INFORMATION_BARS)
    tapes, sessions = [trades_before, trades_of_day], [before.session, today.session]
    expected = at_once(tapes, sessions, clocks, Thresholds())
    assert expected["number"].min() > 1
    # The database keeps microseconds.
    expected = expected.with_columns(pl.col(TIME).dt.truncate("1us"))
    assert_frame_equal(plain(INFORMATION_BARS.conform(found)).select(expected.columns), expected, check_exact=True)


def test_a_late_trade_of_yesterday_corrects_the_bars_of_today(tmp_path: Path) -> None:
    market = Market.CRYPTO
    sessions = [Partition(dt.date(2024, 3, day), market).session for day in (5, 6)]
    midnight = sessions[1].day_start
    rows = [
        (at, symbol, 1 + number % 5)
        for symbol in ("X:A-USD", "X:B-USD")
        for number, at in enumerate(
            range(midnight - 8 * NS_PER_MINUTE, midnight + 8 * NS_PER_MINUTE, NS_PER_SECOND // 2)
        )
    ]
    frame = pl.DataFrame(rows, schema=["time", "symbol", "size"], orient="row").with_row_index("id")
    trades = STREAM_TRADES.conform(
        frame.with_columns(
            pl.col("time").cast(pl.Datetime("ns", "UTC")),
            pl.col("id").cast(pl.String),
            received_time=pl.col("time").cast(pl.Datetime("ns", "UTC")),
            price=100.0 + pl.col("id") % 7,
            size=pl.col("size").cast(pl.Float64),
            exchange=1,
            sequence_number=0,
            conditions=pl.lit("2"),
        )
    ).sort("time")
    is_late = (trades["time"].to_physical() == midnight - 6 * NS_PER_MINUTE) & (
        trades["symbol"].cast(pl.String) == "X:A-USD"
    )
    quotes = STREAM_QUOTES.empty()
    tapes = DayTapes(market, information=OpenBars(tmp_path, None, (Clock.TICK,)).live)
    outputs: dict[dt.date, list[LiveRows]] = {session.date: [] for session in sessions}

    def push(some: pl.DataFrame, now: int) -> None:
        tapes.push(some, quotes, now)
        for partition, emitted in tapes.advance(now):
            outputs[partition.date].append(emitted)

    on_time, last = trades.filter(~is_late), midnight + 6 * NS_PER_MINUTE
    for at in range(midnight - 8 * NS_PER_MINUTE, last, 10 * NS_PER_SECOND):
        time = on_time["time"].to_physical()
        push(on_time.filter((time >= at) & (time < at + 10 * NS_PER_SECOND)), at + 10 * NS_PER_SECOND)
    push(trades.filter(is_late), last + NS_PER_SECOND)
    push(on_time.filter(on_time["time"].to_physical() >= last), midnight + 9 * NS_PER_MINUTE)
    for partition, emitted in tapes.close(midnight + 10 * NS_PER_MINUTE):
        outputs[partition.date].append(emitted)
    bars = InformationBars(Clock.TICK)
    batch = TRADES.conform(trades).sort(TRADES.sort)
    for session in sessions:
        own = batch.filter(pl.col("time").to_physical().is_between(session.day_start, session.day_end, closed="left"))
        expected = plain(bars.add(own, session))
        found = outputs[session.date]
        assert expected.height
        assert_frame_equal(held(found), expected, check_exact=True)
    assert sum(change.withdrawn.height for rows in outputs[sessions[1].date] for change in rows.changes) > 0


def test_without_clocks_there_are_no_such_bars(tmp_path: Path) -> None:
    assert OpenBars(tmp_path, None, ()).live(SESSION) is None
