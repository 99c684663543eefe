"""Injected anomalies: what they change, what they leave alone, and that the tape stays a tape."""

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tapewatch.emulator.synthetic.market import Synthetic
from tapewatch.features.microstructure import microstructure
from tapewatch.labels.distortions import DISTORTIONS, QUOTE_KINDS
from tapewatch.labels.injection import Injected, inject
from tapewatch.labels.truth import TRUTH_EVENTS_SCHEMA, truth_minutes
from tapewatch.market.instruments import NS_PER_MINUTE, Market, Session, session_of
from tapewatch.market.tables import QUOTES, TRADES
from tests.support.recorded import TICK_DAYS, recorded_quotes, recorded_trades
from tests.support.synthetic_days import SyntheticDay, days, synthetic_day
from tests.support.tapes import stock_session

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
    assert set(truth["kind"].cast(pl.String)) == set(DISTORTIONS)
    assert truth.group_by("symbol").len()["len"].to_list() == [8] * 5
    start, end = truth["start_time"].dt.epoch("ns"), truth["end_time"].dt.epoch("ns")
    assert (start - DAY.session.regular_start).min() >= 30 * NS_PER_MINUTE
    assert (DAY.session.regular_end - end).min() >= 15 * NS_PER_MINUTE
    pause = truth.select((pl.col("start_time") - pl.col("end_time").shift(1)).over("symbol").min()).item()
    assert pause >= dt.timedelta(minutes=10)


def test_features_change_only_where_the_truth_says_and_in_its_wake(stocks: Injected) -> None:
    features = microstructure(stocks.trades, stocks.quotes, DAY.session)
    # Half an hour of trailing windows before the three minutes over which volume must last.
    wake = [
        (symbol, minute + dt.timedelta(minutes=late))
        for symbol, minute in truth_minutes(stocks.truth_events, DAY.session).select("symbol", "event_time").iter_rows()
        for late in range(33)
    ]
    touched = pl.DataFrame(wake, schema=features.select("symbol", "event_time").schema, orient="row").unique()
    on = ["symbol", "event_time"]
    # VPIN looks back on buckets of volume, however long they took.
    columns = [name for name in features.columns if name != "vpin"]
    before = DAY.features.select(columns).join(touched, on=on, how="anti")
    after = features.select(columns).join(touched, on=on, how="anti")
    assert before.height > 300
    assert after.equals(before)


def test_the_same_seed_gives_the_same_tape_whoever_stands_beside(stocks: Injected) -> None:
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
        kinds = set(injected.truth_events["kind"].cast(pl.String))
        assert kinds == set(DISTORTIONS) - QUOTE_KINDS
        assert (injected.quotes is None) == (quotes is None)
    assert injected.quotes is not None
    assert injected.quotes.equals(DAY.quotes.filter(pl.col("symbol") == "AAPL"))


def test_a_silent_tape_gets_no_anomalies_and_no_truth() -> None:
    early = DAY.trades.filter(pl.col("time").dt.epoch("ns") < DAY.session.regular_start)
    injected = inject(early, None, DAY.session, seed=1)
    assert injected.trades.equals(early)
    assert injected.truth_events.is_empty()


def test_too_many_or_unknown_anomalies_are_refused() -> None:
    with pytest.raises(ValueError, match="ask for 21 at most"):
        inject(DAY.trades, DAY.quotes, DAY.session, seed=1, per_symbol=40)
    with pytest.raises(ValueError, match="unknown kind"):
        inject(DAY.trades, DAY.quotes, DAY.session, seed=1, kinds=["meteor"])


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
    assert set(spy) == set(DISTORTIONS) - QUOTE_KINDS
    assert outside(trades, injected.truth_events).equals(outside(injected.trades, injected.truth_events))
