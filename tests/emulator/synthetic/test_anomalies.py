"""Each kind of anomaly is visible on the tape at its labelled time, compared with the same day without it."""

import datetime as dt
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from tapewatch.emulator.synthetic.anomalies import DURATIONS, KINDS, ScheduledAnomaly, schedule
from tapewatch.emulator.synthetic.market import Synthetic, TapeDay
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Market, Session, market_of, session_of

DAY = dt.date(2024, 3, 5)
SYMBOLS = ("AAPL", "X:BTC-USD", "X:DOGE-USD")


@dataclass
class Window:
    """Measures of a tape between two times."""

    trades: int
    quotes: int
    volume: float
    spread_bps: float
    depth: float
    flow: float
    range_bps: float
    move_bps: float
    realised_bps: float


def window(day: TapeDay, start: int, end: int) -> Window:
    ns = pl.col("time").dt.epoch("ns")
    trades, quotes = (frame.filter((ns >= start) & (ns < end)) for frame in (day.trades, day.quotes))
    if quotes.is_empty():
        return Window(trades.height, 0, 0.0, *([0.0] * 6))
    mid = ((quotes["bid_price"] + quotes["ask_price"]) / 2).to_numpy()
    before = day.quotes.filter(ns < start).tail(1)
    logs = np.log(np.concatenate([((before["bid_price"] + before["ask_price"]) / 2).to_numpy(), mid]))
    joined = trades.join_asof(
        day.quotes.select("time", mid=(pl.col("bid_price") + pl.col("ask_price")) / 2), on="time", strategy="backward"
    )
    grid = (
        np.searchsorted(quotes["time"].to_physical().to_numpy(), np.arange(start, end, 5 * NS_PER_SECOND), "right") - 1
    )
    return Window(
        trades=trades.height,
        quotes=quotes.height,
        volume=float(trades["size"].sum()),
        spread_bps=float(((quotes["ask_price"] - quotes["bid_price"]).to_numpy() / mid).mean() * 1e4),
        depth=float((quotes["bid_size"] + quotes["ask_size"]).to_numpy().mean()),
        flow=float((joined["price"] - joined["mid"]).sign().to_numpy().mean()),
        range_bps=float(logs.max() - logs.min()) * 1e4,
        move_bps=float(logs[-1] - logs[0]) * 1e4,
        realised_bps=float(np.sqrt((np.diff(logs[grid + 1]) ** 2).sum())) * 1e4,
    )


def both(symbol: str, kind: str) -> tuple[Window, Window, float]:
    """The anomaly's window with and without the anomaly, and the symbol's daily volatility in bps."""
    session = session_of(market_of(symbol), DAY)
    assert session is not None
    middle = (session.regular_start + session.regular_end) // 2
    end = middle + sum(DURATIONS[kind]) // 2 * NS_PER_SECOND
    market = Synthetic(9)
    event = ScheduledAnomaly(f"{symbol}-test", kind, middle, end)
    shown, plain = market.day_with(symbol, DAY, [event]), market.day_with(symbol, DAY, [])
    daily = {"AAPL": 150.0, "X:BTC-USD": 300.0, "X:DOGE-USD": 440.0}[symbol]
    return window(shown, middle, end), window(plain, middle, end), daily


@pytest.mark.parametrize("symbol", SYMBOLS)
class TestKinds:
    def test_volume_spike(self, symbol: str) -> None:
        shown, plain, _ = both(symbol, "volume_spike")
        assert shown.trades > 3 * plain.trades
        assert shown.volume > 5 * plain.volume

    def test_price_jump(self, symbol: str) -> None:
        shown, plain, daily = both(symbol, "price_jump")
        assert abs(shown.move_bps) > 0.4 * daily > 2 * abs(plain.move_bps)

    def test_flash_crash_recovers(self, symbol: str) -> None:
        shown, plain, daily = both(symbol, "flash_crash")
        assert shown.range_bps > 0.8 * daily
        assert abs(shown.move_bps) < 0.4 * shown.range_bps
        assert shown.spread_bps > 1.3 * plain.spread_bps

    def test_volatility_burst(self, symbol: str) -> None:
        shown, plain, _ = both(symbol, "volatility_burst")
        assert shown.realised_bps > 2 * plain.realised_bps

    def test_spread_blowout(self, symbol: str) -> None:
        shown, plain, _ = both(symbol, "spread_blowout")
        assert shown.spread_bps > 4 * plain.spread_bps
        assert shown.depth < 0.6 * plain.depth

    def test_quote_stuffing(self, symbol: str) -> None:
        shown, plain, _ = both(symbol, "quote_stuffing")
        assert shown.quotes > 8 * plain.quotes
        assert shown.trades < 2 * plain.trades
        assert shown.range_bps < 3 * plain.range_bps

    def test_one_sided_flow(self, symbol: str) -> None:
        shown, plain, _ = both(symbol, "one_sided_flow")
        assert abs(shown.flow) > 0.55 > abs(plain.flow)

    def test_correlation_break_goes_against_the_factor(self, symbol: str) -> None:
        shown, plain, daily = both(symbol, "correlation_break")
        assert abs(shown.move_bps - plain.move_bps) > 0.25 * daily

    def test_pump_and_dump(self, symbol: str) -> None:
        shown, plain, daily = both(symbol, "pump_and_dump")
        assert shown.range_bps > daily
        assert shown.move_bps < 0.5 * shown.range_bps
        assert shown.volume > 2.5 * plain.volume

    def test_feed_outage(self, symbol: str) -> None:
        shown, plain, _ = both(symbol, "feed_outage")
        assert (shown.trades, shown.quotes) == (0, 0)
        assert plain.trades > 0


def test_every_kind_is_tested() -> None:
    tested = {name.removeprefix("test_") for name in dir(TestKinds) if name.startswith("test_")}
    assert all(any(name.startswith(kind) for name in tested) for kind in KINDS)


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_an_anomaly_s_price_shift_fades_by_the_day_s_end(symbol: str) -> None:
    session = session_of(market_of(symbol), DAY)
    assert session is not None
    start = session.regular_start + 60 * NS_PER_MINUTE
    market = Synthetic(9)
    event = ScheduledAnomaly("e", "price_jump", start, start + 60 * NS_PER_SECOND)
    shown, plain = market.day_with(symbol, DAY, [event]), market.day_with(symbol, DAY, [])
    assert shown.quotes["bid_price"][-1] == pytest.approx(plain.quotes["bid_price"][-1], rel=2e-3)


def schedules(market: Market, symbol: str) -> list[tuple[Session, list[ScheduledAnomaly]]]:
    days = (DAY + dt.timedelta(days=offset) for offset in range(400))
    sessions = [session for day in days if (session := session_of(market, day)) is not None]
    return [(session, schedule(9, symbol, session)) for session in sessions]


@pytest.mark.parametrize(("market", "symbol"), [(Market.STOCKS, "TSLA"), (Market.CRYPTO, "X:ADA-USD")])
def test_scheduled_anomalies_do_not_overlap(market: Market, symbol: str) -> None:
    seen = set()
    for session, events in schedules(market, symbol):
        assert 2 <= len(events) <= 4
        assert len({event.event_id for event in events}) == len(events)
        assert events[0].start >= session.regular_start + 20 * NS_PER_MINUTE
        assert events[-1].end <= session.regular_end - 20 * NS_PER_MINUTE
        for event in events:
            shortest, longest = DURATIONS[event.kind]
            assert shortest <= (event.end - event.start) // NS_PER_SECOND <= longest
            assert 60 <= shortest < longest <= 900
        assert all(first.end + 5 * NS_PER_MINUTE < second.start for first, second in pairwise(events))
        seen |= {event.kind for event in events}
    assert seen == set(KINDS)


def test_the_truth_is_the_schedule() -> None:
    session = session_of(Market.STOCKS, DAY)
    assert session is not None
    truth = Synthetic(9).day("GOOGL", DAY).truth
    events = schedule(9, "GOOGL", session)
    assert truth["event_id"].to_list() == [event.event_id for event in events]
    assert truth["start_time"].to_physical().to_list() == [event.start for event in events]
    assert truth["end_time"].to_physical().to_list() == [event.end for event in events]
    assert truth["kind"].to_list() == [event.kind for event in events]


def test_anomalies_on_a_closed_day_are_refused() -> None:
    with pytest.raises(ValueError, match="does not trade"):
        Synthetic(9).day_with("AAPL", dt.date(2024, 3, 9), [])
