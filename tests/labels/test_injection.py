"""Injected anomalies: what they change, what they leave unchanged, and that the tape stays valid."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tapewatch.emulator.synthetic.market import Synthetic
from tapewatch.features.microstructure import microstructure
from tapewatch.labels.injection.distortions import DISTORTIONS, QUOTE_KINDS, TICK_KINDS, TRADE_KINDS
from tapewatch.labels.injection.injection import (
    TO_CLOSE_NS,
    Injected,
    Placement,
    _stretch,
    _usual,
    inject,
    placed,
    tick_of,
)
from tapewatch.labels.truth import TRUTH_EVENTS_SCHEMA, truth_minutes
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Market, Session, session_of
from tapewatch.market.tables.tape import QUOTES, TRADES
from tests.support.recorded import TICK_DAYS, recorded_quotes, recorded_trades
from tests.support.synthetic_days import SyntheticDay, days, synthetic_day
from tests.support.tapes import stock_session, tape_of

DAY = synthetic_day(Market.STOCKS, days(Market.STOCKS)[0])


@pytest.fixture(scope="module")
def stocks() -> Injected:
    return inject(DAY.trades, DAY.quotes, DAY.session, seed=1, per_symbol=8)


def assert_is_a_tape(trades: pl.DataFrame, quotes: pl.DataFrame | None) -> None:
    """Both frames fit their tables, are sorted and have unique keys and sensible values."""
    for table, frame in ((TRADES, trades), (QUOTES, quotes)):
        if frame is None:
            continue
        table.check(frame)
        assert table.duplicates(frame) == 0
        order = frame.sort(pl.col("symbol").cast(pl.String), *table.sort[1:])
        assert frame.equals(order)
    assert trades.filter((pl.col("price") <= 0) | (pl.col("size") <= 0)).is_empty()


def outside(frame: pl.DataFrame, truth: pl.DataFrame) -> pl.DataFrame:
    """Rows of a tape that lie in no injected stretch of their symbol."""
    bounds = truth.select("symbol", a=pl.col("start_time").dt.epoch("ns"), b=pl.col("end_time").dt.epoch("ns"))
    ns, symbols = frame["time"].dt.epoch("ns").to_numpy(), frame["symbol"].cast(pl.String).to_numpy()
    inside = np.zeros(frame.height, dtype=bool)
    for symbol, a, b in bounds.iter_rows():
        inside |= (symbols == symbol) & (ns >= a) & (ns < b)
    return frame.filter(~pl.Series(inside))


def test_the_tape_stays_a_tape(stocks: Injected) -> None:
    assert_is_a_tape(stocks.trades, stocks.quotes)
    assert stocks.truth_events.schema == TRUTH_EVENTS_SCHEMA
    assert stocks.truth_events["event_id"].is_unique().all()


def test_no_anomaly_is_put_where_prices_touch_zero() -> None:
    day = Synthetic(7).day("CLZ9-CLF0", dt.date(2024, 3, 5))
    session = session_of(Market.FUTURES, dt.date(2024, 3, 5))
    assert session is not None
    found = inject(day.trades, day.quotes, session, seed=1, per_symbol=40)
    assert 0 < found.truth_events.height < 40
    assert found.quotes is not None
    for table, frame in ((TRADES, found.trades), (QUOTES, found.quotes)):
        table.check(frame, Market.FUTURES)
        assert table.duplicates(frame) == 0
    for start, end in found.truth_events.select("start_time", "end_time").iter_rows():
        inside = day.trades.filter(pl.col("time").is_between(start, end, closed="left"))
        assert (inside["price"] > 0).all()
    assert outside(day.trades, found.truth_events).equals(outside(found.trades, found.truth_events))


def test_nothing_changes_outside_the_stretches(stocks: Injected) -> None:
    assert stocks.quotes is not None
    for before, after in ((DAY.trades, stocks.trades), (DAY.quotes, stocks.quotes)):
        assert outside(before, stocks.truth_events).equals(outside(after, stocks.truth_events))
        assert not before.equals(after)


def test_every_kind_is_there_and_lies_away_from_the_edges_and_from_others(stocks: Injected) -> None:
    truth = stocks.truth_events
    assert set(truth["kind"].cast(pl.String)) == set(TICK_KINDS)
    assert truth.group_by("symbol").len()["len"].to_list() == [8] * 5
    start, end = truth["start_time"].dt.epoch("ns"), truth["end_time"].dt.epoch("ns")
    assert (start - DAY.session.regular_start).min() >= 30 * NS_PER_MINUTE
    assert (DAY.session.regular_end - end).min() >= 15 * NS_PER_MINUTE
    pause = truth.select((pl.col("start_time") - pl.col("end_time").shift(1)).over("symbol").min()).item()
    assert pause >= dt.timedelta(minutes=10)


def test_features_change_only_within_anomalies_and_half_an_hour_after(stocks: Injected) -> None:
    features = microstructure(stocks.trades, stocks.quotes, DAY.session)
    # The trailing window of half an hour lies before the three minutes of sustained volume.
    wake = [
        (symbol, minute + dt.timedelta(minutes=late))
        for symbol, minute in truth_minutes(stocks.truth_events, DAY.session).select("symbol", "event_time").iter_rows()
        for late in range(33)
    ]
    touched = pl.DataFrame(wake, schema=features.select("symbol", "event_time").schema, orient="row").unique()
    on = ["symbol", "event_time"]
    # VPIN covers 50 buckets of volume, which may take any time.
    columns = [name for name in features.columns if name != "vpin"]
    before = DAY.features.select(columns).join(touched, on=on, how="anti")
    after = features.select(columns).join(touched, on=on, how="anti")
    assert before.height > 300
    assert after.equals(before)


def test_the_same_seed_gives_the_same_tape_with_other_symbols_or_without(stocks: Injected) -> None:
    again = inject(DAY.trades, DAY.quotes, DAY.session, seed=1, per_symbol=8)
    assert again.trades.equals(stocks.trades)
    assert again.truth_events.equals(stocks.truth_events)
    is_aapl = pl.col("symbol") == "AAPL"
    alone = inject(DAY.trades.filter(is_aapl), DAY.quotes.filter(is_aapl), DAY.session, seed=1, per_symbol=8)
    assert alone.trades.equals(stocks.trades.filter(is_aapl))
    other = inject(DAY.trades, DAY.quotes, DAY.session, seed=2, per_symbol=8)
    assert not other.truth_events.equals(stocks.truth_events)


@pytest.mark.parametrize(
    ("kind", "feature", "factor"),
    [("volume_spike", "volume", 3.0), ("price_jump", "range_bps", 2.0), ("spread_blowout", "quoted_spread_bps", 2.0)],
)
@pytest.mark.parametrize("market", [Market.STOCKS, Market.CRYPTO])
def test_each_kind_shows_in_its_feature(market: Market, kind: str, feature: str, factor: float) -> None:
    before, after = during(synthetic_day(market, days(market)[0]), kind)
    assert after[feature].mean() > factor * before[feature].mean()


@pytest.mark.parametrize("market", [Market.STOCKS, Market.CRYPTO])
def test_one_sided_flow_is_one_sided(market: Market) -> None:
    before, after = during(synthetic_day(market, days(market)[0]), "one_sided_flow")
    assert after["order_flow_imbalance"].abs().mean() > 0.85 > before["order_flow_imbalance"].abs().mean()


def during(day: SyntheticDay, kind: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Features of the fully covered minutes, before and after injecting one kind alone."""
    injected = inject(day.trades, day.quotes, day.session, seed=3, per_symbol=4, kinds=[kind])
    assert_is_a_tape(injected.trades, injected.quotes)
    minutes = truth_minutes(injected.truth_events, day.session)
    whole = minutes.filter(
        (pl.col("start_time") <= pl.col("event_time")) & (pl.col("end_time") >= pl.col("known_time"))
    ).select("symbol", "event_time")
    assert whole.height > 4
    features = microstructure(injected.trades, injected.quotes, day.session)
    on = ["symbol", "event_time"]
    return day.features.join(whole, on=on, how="semi"), features.join(whole, on=on, how="semi")


def test_quotes_move_with_prices() -> None:
    injected = inject(DAY.trades, DAY.quotes, DAY.session, seed=5, per_symbol=6, kinds=["price_jump"])
    assert injected.quotes is not None
    quotes = injected.quotes.filter((pl.col("bid_price") > 0) & (pl.col("ask_price") > 0))
    spread = (pl.col("ask_price") - pl.col("bid_price")).round(6)
    before = DAY.quotes.filter((pl.col("bid_price") > 0) & (pl.col("ask_price") > 0))
    assert quotes.select(spread.max()).item() == before.select(spread.max()).item(), "a jump moves both sides alike"


def test_a_symbol_without_quotes_gets_kinds_that_trades_show() -> None:
    trades = DAY.trades.filter(pl.col("symbol") == "VOO")
    for quotes in (None, DAY.quotes.filter(pl.col("symbol") == "AAPL")):
        injected = inject(trades, quotes, DAY.session, seed=1, per_symbol=6)
        of_voo = injected.truth_events.filter(pl.col("symbol") == "VOO")
        assert set(of_voo["kind"].cast(pl.String)) == set(TRADE_KINDS)
        assert (injected.quotes is None) == (quotes is None)


@pytest.mark.parametrize("kind", QUOTE_KINDS)
def test_a_symbol_without_trades_gets_kinds_that_quotes_show(kind: str) -> None:
    quotes = DAY.quotes.filter(pl.col("symbol") == "VOO")
    injected = inject(TRADES.empty(), quotes, DAY.session, seed=1, per_symbol=6, kinds=[kind])
    assert injected.trades.is_empty()
    assert injected.quotes is not None
    assert injected.truth_events.height >= 4
    assert_is_a_tape(injected.trades, injected.quotes)
    truth = injected.truth_events
    assert outside(quotes, truth).equals(outside(injected.quotes, truth)), "outside the stretches nothing changes"
    before, after = (frame.height - outside(frame, truth).height for frame in (quotes, injected.quotes))
    if kind == "feed_outage":
        assert (before > 100, after) == (True, 0)
    else:
        assert after > (15 * before if kind == "quote_stuffing" else before)


def test_all_kinds_of_quotes_alone_take_turns() -> None:
    injected = inject(TRADES.empty(), DAY.quotes, DAY.session, seed=1, per_symbol=8)
    for _, truth in injected.truth_events.group_by("symbol"):
        assert set(truth["kind"].cast(pl.String)) == set(QUOTE_KINDS)


def test_nothing_is_injected_near_or_after_the_tape_s_end() -> None:
    end = DAY.session.regular_start + 110 * NS_PER_MINUTE
    seen = pl.col("time").dt.epoch("ns") < end
    injected = inject(DAY.trades.filter(seen), DAY.quotes.filter(seen), DAY.session, seed=1, through_ns=end)
    assert injected.truth_events.height > 5
    assert injected.truth_events["end_time"].dt.epoch("ns").max() <= end - TO_CLOSE_NS


def test_a_silent_tape_gets_no_anomalies_and_no_truth() -> None:
    early = DAY.trades.filter(pl.col("time").dt.epoch("ns") < DAY.session.regular_start)
    injected = inject(early, None, DAY.session, seed=1)
    assert injected.trades.equals(early)
    assert injected.truth_events.is_empty()


def test_none_asked_for_leaves_the_tape_as_it_is() -> None:
    injected = inject(DAY.trades, DAY.quotes, DAY.session, seed=1, per_symbol=0)
    assert injected.trades.equals(DAY.trades)
    assert injected.quotes is not None
    assert injected.quotes.equals(DAY.quotes)
    assert injected.truth_events.is_empty()


LAST = DAY.session.regular_end - TO_CLOSE_NS


def places(per_symbol: int, kinds: Sequence[str], seed: int) -> list[Placement]:
    durations = {kind: DISTORTIONS[kind][1] for kind in kinds}
    return placed(DAY.session, LAST, per_symbol, durations, np.random.default_rng(seed))


@pytest.mark.parametrize(("per_symbol", "kinds"), [(8, TICK_KINDS), (5, ("volume_spike", "price_jump"))])
def test_each_slot_of_the_session_holds_one_anomaly_of_its_kinds_length(per_symbol, kinds) -> None:
    first = DAY.session.regular_start + 30 * NS_PER_MINUTE
    slot = (LAST - first) / per_symbol
    for seed in range(3):
        found = places(per_symbol, kinds, seed)
        assert len(found) == per_symbol
        for turn in range(0, per_symbol - len(kinds) + 1, len(kinds)):
            assert {each.kind for each in found[turn : turn + len(kinds)]} == set(kinds)
        for at, each in enumerate(found):
            shortest, longest = DISTORTIONS[each.kind][1]
            assert shortest * NS_PER_MINUTE - 1 <= each.end_ns - each.start_ns <= longest * NS_PER_MINUTE
            assert first + at * slot - per_symbol <= each.start_ns
            assert each.end_ns + 10 * NS_PER_MINUTE <= first + (at + 1) * slot
    starts = [places(1, kinds, seed)[0].start_ns for seed in range(200)]
    assert min(starts) < first + 0.1 * (LAST - first)
    assert max(starts) > LAST - 10 * NS_PER_MINUTE - 0.1 * (LAST - first)


def test_as_many_anomalies_are_placed_as_fit() -> None:
    assert len(places(23, ["price_jump"], 0)) == 23
    for kinds, most in ((["price_jump"], 26), (TICK_KINDS, 21)):
        assert [len(places(asked, kinds, 0)) for asked in (most, most + 1, 99)] == [most] * 3
    assert placed(DAY.session, DAY.session.regular_start, 8, {"price_jump": (1, 2)}, np.random.default_rng(0)) == []
    assert places(8, [], 0) == []


def test_what_is_usual_comes_from_the_half_hour_before() -> None:
    """Trades in seconds before the stretch; those in the last half hour count, unless withdrawn or without size or price."""
    start = 3600
    trades = [
        (start - 1801, 99, 1000), (start - 1800, 10.0, 100), (start - 1700, 10.1, 300), (start - 1640, 10.4, 200),
        (start - 1580, 10.3, 500), (start - 1570, 10.5, 700), (start - 500, 77.0, 900), (start - 400, 88.0, 0),
        (start, 99, 1000),
    ]  # fmt: skip
    tape, _ = tape_of(trades)
    tape = tape.with_columns(correction=pl.Series([0, 0, None, 1, 0, 0, 8, 0, 0], dtype=pl.Int8))
    quotes = [
        (start - 1801, 1, 9),
        (start - 1800, 10.0, 10.02),
        (start - 900, 10.0, 10.04),
        (start - 1, 10.0, 10.5),
        (start, 1, 9),
    ]
    at = stock_session().regular_start + start * NS_PER_SECOND
    usual = _usual(tape, tape_of(quotes=quotes)[1], at, 0.01)
    assert usual is not None
    # The closes of the four minutes; the last minute holds two trades.
    moves = np.abs(np.diff(np.log([10.0, 10.1, 10.4, 10.5])))
    assert usual.minute_volatility == pytest.approx(1.4826 * np.median(moves))
    assert usual.spread == pytest.approx(0.04)
    assert usual.trades_per_minute == pytest.approx(5 / 30)
    assert usual.volume_per_minute == pytest.approx(1800 / 30)
    assert sorted(usual.sizes) == [100, 200, 300, 500, 500], (
        "the largest block gives way to the 95th percentile below it"
    )
    assert usual.tick == 0.01
    narrow = _usual(tape, tape_of(quotes=[(start - 10, 10, 10.001)])[1], at, 0.01)
    alone, unquoted = _usual(tape.head(2), None, at, 0.01), _usual(tape, tape_of()[1], at, 0.01)
    assert narrow is not None
    assert alone is not None
    assert unquoted is not None
    assert (narrow.spread, unquoted.spread) == (0.01, 0.01)
    assert (alone.minute_volatility, alone.spread) == (0, 0.01)
    assert _usual(tape.head(1), None, at, 0.01) is None


@pytest.mark.parametrize(
    ("prices", "tick"),
    [
        ([10, 20, 30], 1.0), ([10.5] * 10, 0.1), ([10.01, 10.02, 10.0], 0.01), ([10.0001], 1e-4), ([1.23456789], 1e-8),
        ([0.1234567891], 1e-8), ([10.01] * 95 + [10.0153] * 5, 0.01), ([10.01] * 94 + [10.0153] * 6, 1e-4),
        ([10.01] * 20 + [10.015], 0.01), ([10.01] * 18 + [10.015], 0.001),
    ],
)  # fmt: skip
def test_the_tick_is_the_grid_of_nearly_all_prices(prices, tick) -> None:
    trades, _ = tape_of([(at, price, 1) for at, price in enumerate(prices)])
    assert tick_of(trades["price"]) == pytest.approx(tick)


def test_a_stretch_has_what_stands_at_its_start() -> None:
    at = stock_session().regular_start
    trades, quotes = tape_of(
        [(2990, 10, 1), (2999, 11, 1), (3000, 12, 1), (3059, 13, 1), (3060, 14, 1)],
        [(1199, 8, 9), (2980, 9, 10), (2999, 0, 11), (3000, 9, 12), (3060, 9, 13)],
    )
    placement = Placement("price_jump", at + 3000 * NS_PER_SECOND, at + 3060 * NS_PER_SECOND)
    found = _stretch(trades, quotes, placement)
    assert found is not None
    assert found.trades["price"].to_list() == [12, 13]
    assert found.quotes["ask_price"].to_list() == [12]
    assert found.standing_price == 11
    assert found.standing_quote["ask_price"].to_list() == [10], "the last two-sided quote"
    assert found.minutes == 1
    assert found.elapsed(found.trades).tolist() == pytest.approx([0, 59 / 60])
    assert _stretch(trades, quotes.filter(pl.col("ask_price") > 10), placement) is None
    assert _stretch(trades, quotes.head(1), placement) is None, "a quote of more than half an hour before"
    assert _stretch(trades.tail(3), quotes, placement) is None, "no trade before"
    assert _stretch(trades, None, placement).standing_quote is None
    for row, value in ((2, 0.0), (2, -1.0), (1, 0.0)):
        touching = trades.with_columns(price=pl.Series([value if i == row else 10.0 for i in range(5)]))
        assert _stretch(touching, quotes, placement) is None
    below = quotes.with_columns(bid_price=pl.Series([8.0, 9.0, 0.0, -0.5, 9.0]))
    assert _stretch(trades, below, placement) is None
    empty_side = quotes.with_columns(ask_price=pl.Series([9.0, 10.0, 11.0, 0.0, 13.0]))
    assert _stretch(trades, empty_side, placement) is not None


def test_unknown_anomalies_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown kind"):
        inject(DAY.trades, DAY.quotes, DAY.session, seed=1, kinds=["meteor"])


@pytest.mark.long
@pytest.mark.real_tape
def test_a_recorded_day(market_data: Path) -> None:
    date = TICK_DAYS[0]
    order = pl.col("symbol").cast(pl.String), "time", "sequence_number"
    trades = recorded_trades(market_data, date).sort(*order)
    quotes = recorded_quotes(market_data, date).sort(*order)
    session: Session = stock_session(date)
    injected = inject(trades, quotes, session, seed=1)
    assert_is_a_tape(injected.trades, injected.quotes)
    spy = injected.truth_events.filter(pl.col("symbol") == "SPY")["kind"].cast(pl.String)
    assert set(spy) == set(TRADE_KINDS)
    assert outside(trades, injected.truth_events).equals(outside(injected.trades, injected.truth_events))
