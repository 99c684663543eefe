"""Signals and outcomes use nothing of the future."""

import datetime as dt

import numpy as np
import polars as pl

from models.scan.detector import Day, ScanDetector
from tapewatch.emulator.synthetic.market import Synthetic
from tapewatch.features.bins.batch import bins_5s
from tapewatch.lookahead.checks import judge
from tapewatch.lookahead.computation import Tape
from tapewatch.market.instruments import Market, Partition, trading_days
from tapewatch.market.signal_tables import SIGNALS
from tapewatch.trading.lookahead import SIGNALS_WITHOUT_ALERTS, outcomes_of, signals_after_scan
from tests.support.trading_rows import bars_at, session, signal

NAMES = ("AAPL", "MSFT", "VOO")


def tapes() -> list[Tape]:
    """Three days of three stocks of the built-in market, with a tenth of their ticks."""
    market, found = Synthetic(7, activity=0.1), []
    for date in trading_days(Market.STOCKS, dt.date(2024, 6, 3), dt.date(2024, 6, 5)):
        made = [market.day(symbol, date) for symbol in NAMES]
        frames = {name: pl.concat([getattr(each, name) for each in made]) for name in ("trades", "quotes")}
        day = Partition(date, Market.STOCKS).session
        found.append(Tape(day, frames, NAMES, day.day_end))
    return found


def test_signals_use_nothing_of_the_future() -> None:
    *before, tape = tapes()
    days = [Day(each.session, bins_5s(each.frames["trades"], each.frames["quotes"], each.session)) for each in before]
    after_scan = signals_after_scan(ScanDetector.fit(days, hours=1.0))
    for computation in (after_scan, SIGNALS_WITHOUT_ALERTS):
        found = judge(computation, tape, cuts=2)
        assert found.is_clean, found
        assert found.rows > 0
    strategies = after_scan.rows(tape)["strategy"].cast(pl.String).unique()
    assert {"continuation", "flow_momentum"} <= set(strategies)


def test_an_outcome_is_known_once_its_barrier_is_touched() -> None:
    walks = 100 * np.exp(np.cumsum(np.random.default_rng(3).normal(0, 8e-4, (2, 200)), axis=1))
    prices = {"AAA": walks[0].tolist(), "BBB": walks[1].tolist()}
    found = pl.concat(
        [
            signal(at, 1 if at % 2 else -1, symbol=symbol, horizon_minutes=5 + at % 3 * 10)
            for symbol in prices
            for at in range(5, 180, 7)
        ]
    )
    day = session()
    bars = bars_at(prices).with_columns(volume=pl.lit(1.0), known_time=pl.col("time") + pl.duration(minutes=1))
    tape = Tape(day, {"bars": bars}, tuple(prices), day.regular_start + 200 * 60_000_000_000)
    verdict = judge(outcomes_of(SIGNALS.conform(found)), tape, cuts=12)
    assert verdict.is_clean, verdict
    assert verdict.rows > 40
