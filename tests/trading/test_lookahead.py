"""Signals and outcomes use nothing of the future."""

import datetime as dt
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import polars as pl
import pytest

from assets.shared.look_ahead import no_look_ahead
from models.scan.detector import Day, ScanDetector
from tapewatch.emulator.synthetic.market import Synthetic
from tapewatch.features.bins.batch import bins_5s
from tapewatch.lookahead.checks import judge
from tapewatch.lookahead.computation import Tape
from tapewatch.market.instruments import Market, Partition, trading_days
from tapewatch.market.tables.signals import SIGNALS
from tapewatch.market.tables.tape import ANOMALIES, MICROSTRUCTURE, TIME
from tapewatch.store.lake.lake import Lake
from tapewatch.trading.days import TradingDays
from tapewatch.trading.lookahead import SIGNALS_WITHOUT_ALERTS, outcomes_of, signals_after_scan
from tapewatch.trading.signals.build import SignalRules
from tapewatch.trading.signals.risk import RiskRules, assessed
from tapewatch.trading.strategies.alerts import after_alerts
from tapewatch.trading.strategies.closes import Closes
from tapewatch.trading.strategies.flow import flow_momentum
from tapewatch.trading.strategies.lead_lag import LeadRules, lead_lag
from tapewatch.trading.strategies.pairs import PairRules, pairs
from tests.support.trading_rows import DAY as DATE
from tests.support.trading_rows import bars_at, minute, minute_rows, session, signal
from tests.trading.signals.test_meta_model import past

DAY = Partition(DATE, Market.STOCKS)
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


@pytest.mark.long
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


def stored_day(lake: Lake) -> None:
    """A day of features with a lean of the flow every half hour, moves of the price, and alerts."""
    rng = np.random.default_rng(5)
    flow = np.where(np.arange(390) % 30 == 15, 8.0, 0.0)
    common = rng.normal(0, 5e-4, 390)
    paths = [np.cumsum(common + rng.normal(0, 2e-4, 390)) for _ in range(3)]
    prices = {name: (100 * np.exp(path)).tolist() for name, path in zip(NAMES, paths, strict=True)}
    lake.write(MICROSTRUCTURE, DAY, minute_rows(prices, flow_score_5m=flow, best_level_ofi=np.sign(flow) * 0.5))
    starts = [minute(at) for at in range(40, 380, 20)]
    events = {
        "symbol": "AAPL", "start_time": starts, "end_time": [at + dt.timedelta(minutes=5) for at in starts],
        "known_time": [at + dt.timedelta(minutes=1) for at in starts], "kind": "price_jump", "score": 0.7, "threshold": 0.6,
        "minutes": 5, "reasons": "[]", "model": "isolation_forest/1",
    }  # fmt: skip
    lake.write(ANOMALIES, DAY, ANOMALIES.conform(pl.DataFrame(events)))
    lake.write(SIGNALS, DAY, TradingDays(lake).signals(DAY))


def early_flow(minutes: pl.DataFrame) -> pl.DataFrame:
    """The strategy with the flow of the minute that follows."""
    later = minutes.with_columns(pl.col("flow_5m", "ofi").shift(-1).over("symbol"))
    return flow_momentum(later)


def early_pairs(prices: Closes, rules: PairRules) -> pl.DataFrame:
    """Pairs by the prices of five minutes later."""
    return pairs(Closes(prices.symbols, prices.known_ns, np.roll(prices.logs, -5, axis=0)), rules)


def early_leaders(followers: Closes, leaders: Closes, rules: LeadRules) -> pl.DataFrame:
    """Leaders whose move of the next minute is followed."""
    moved = Closes(leaders.symbols, leaders.known_ns, np.roll(leaders.logs, -1, axis=0))
    return lead_lag(followers, moved, replace(rules, t_value=2.0))


def early_alerts(alerts: pl.DataFrame, rows: pl.DataFrame, minutes: pl.DataFrame) -> pl.DataFrame:
    """Bets in the direction that the price takes after the alert."""
    found = after_alerts(alerts, rows, minutes)
    later = minutes.select(
        "symbol", "known_time", ahead=pl.col("return_bps").rolling_sum(5).shift(-5).over("symbol").fill_null(0.0)
    )
    ahead = found.join(later, on=["symbol", "known_time"], how="left", maintain_order="left")
    return ahead.with_columns(side=pl.when(pl.col("ahead") < 0).then(-1).otherwise(1).cast(pl.Int8)).drop("ahead")


def early_risk(proposals: pl.DataFrame, minutes: pl.DataFrame, rules: RiskRules) -> pl.DataFrame:
    """Targets by the volatility of the whole day."""
    whole = minutes.with_columns(pl.col("volatility_bps").mean().over("symbol"))
    return assessed(proposals, whole, rules)


LEAKS = {
    "flow_momentum": early_flow, "pairs": early_pairs, "lead_lag": early_leaders, "after_alerts": early_alerts,
    "assessed": early_risk,
}  # fmt: skip


def test_the_asset_check_passes_stored_signals_and_finds_every_planted_leak(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    stored_day(lake)
    days = TradingDays(lake, SignalRules(pairs=PairRules(p_value=100.0)))
    for leak in (None, *LEAKS):
        planted = patch(f"tapewatch.trading.signals.build.{leak}", LEAKS[leak]) if leak else nullcontext()
        with planted:
            lake.write(SIGNALS, DAY, days.signals(DAY))
            passed, facts = no_look_ahead(SIGNALS, lake, DAY, days.computation(DAY))
        assert passed is (leak is None), (leak, facts)
        if leak is None:
            assert facts["rows"] > 20
            strategies = set(lake.read(SIGNALS, DAY)["strategy"].cast(pl.String))
            assert strategies >= {"continuation", "flow_momentum", "pairs"}


def test_confidences_of_a_meta_model_use_nothing_of_the_future(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    stored_day(lake)
    earlier = pl.col("event_time", "known_time").dt.offset_by("-30d").cast(TIME)
    history = past(600, 1, strategy="flow_momentum").with_columns(earlier)
    days = TradingDays(lake)
    with patch.object(TradingDays, "record", lambda *_: history):
        lake.write(SIGNALS, DAY, days.signals(DAY))
        passed, facts = no_look_ahead(SIGNALS, lake, DAY, days.computation(DAY))
    model = days.model(DAY)
    assert model is not None
    found = lake.read(SIGNALS, DAY)
    assert 0 < model.confidence(found).null_count() < found.height
    assert passed, facts


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
