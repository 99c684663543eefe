"""Bets after a detector's alerts: made on the days as they were, and a champion that loses is retired with the figures."""

from pathlib import Path

import mlflow
import numpy as np
import polars as pl
import pytest

from assets.models import training
from assets.models.forest import MODEL
from assets.models.traded import bets_after, bets_of, bets_of_champions, demote, losers, metrics_of
from models.isolation_forest.detector import ForestParameters, IsolationForestDetector
from resources.mlflow_registry import ModelRegistry
from resources.promotion import Promoter
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.tape import ANOMALIES, BARS, MICROSTRUCTURE
from tapewatch.store.database.database import Database
from tapewatch.store.database.model_history import history
from tapewatch.store.lake.lake import Lake
from tapewatch.trading.days import TradingDays
from tests.support.anomalies import event, events
from tests.support.detectors import ordinary_rows
from tests.support.trading_rows import DAY, bars_at, minute_rows, outcome

DAYS = {"train": ["2024-06-03|stocks"], "validation": [f"{DAY}|stocks"]}
FALLS = (60, 120, 180, 240, 300)


def falling_day(lake: Lake) -> None:
    """Sudden falls on heavy selling that return at once: who follows them loses."""
    moves = np.random.default_rng(2).normal(0, 1e-4, 390)
    for at in FALLS:
        moves[at : at + 2] -= 0.004
        moves[at + 3 : at + 5] += 0.004
    prices = {"AAA": (100 * np.exp(np.cumsum(moves))).tolist()}
    heavy = np.isin(np.arange(390), [at + late for at in FALLS for late in (0, 1)])
    columns = {"volume_ratio": np.where(heavy, 30.0, 1.0), "flow_score_3m": np.where(heavy, -9.0, 0.0)}
    day = Partition(DAY, Market.STOCKS)
    lake.write(MICROSTRUCTURE, day, minute_rows(prices, **columns))
    bars = bars_at(prices).with_columns(
        known_time=pl.col("time") + pl.duration(minutes=1), volume=pl.lit(1e5), source=pl.lit("trades")
    )
    lake.write(BARS, day, bars)


def test_bets_follow_the_alerts_of_the_detector_and_what_they_lose_is_said(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    falling_day(lake)
    rows = lake.read(MICROSTRUCTURE, Partition(DAY, Market.STOCKS))
    detector = IsolationForestDetector(ForestParameters(trees=50), seed=1).fit(rows)
    found = bets_after(detector, MODEL, lake, DAYS["validation"])
    assert set(found["detector"].cast(pl.String)) == {MODEL}
    alerts = detector.scored(rows).filter(pl.col("score") >= detector.threshold)
    assert 0 < found.height <= alerts.height
    assert found.select((pl.col("event_time") >= alerts["known_time"].min()).all()).item()
    bets = bets_of(found)
    assert bets is not None
    assert bets.count == found.height == metrics_of(found)["bets"]
    assert bets.mean_net_bps == pytest.approx(found["net_bps"].mean())
    assert bets_after(detector, MODEL, None, DAYS["validation"]).is_empty()
    assert bets_after(detector, MODEL, lake, ["2024-06-05|stocks"]).is_empty()
    assert metrics_of(found.clear()) == {"bets": 0.0}


@pytest.mark.slow
def test_a_champion_whose_own_alerts_lose_gives_way_to_the_one_before(tmp_path: Path) -> None:
    before = mlflow.get_tracking_uri()
    registry = ModelRegistry(f"sqlite:///{tmp_path}/mlflow.db", (tmp_path / "artifacts").as_uri())
    fitted = [training.fit(registry, MODEL, ordinary_rows(), DAYS, {"trees": 5, "seed": seed}) for seed in (1, 2)]
    numbers = [int(registry.register(MODEL, each.model_uri, each.run_id).version) for each in fitted]
    first, second = (registry.version(MODEL, number) for number in numbers)
    lake, days = Lake(tmp_path / "lake"), [Partition(DAY, Market.STOCKS), Partition(DAY, Market.CRYPTO)]
    for day, version in zip(days, (second, first), strict=True):
        lake.write(ANOMALIES, day, events(event(model=f"{MODEL}/{version.version}")))
    lost = pl.concat(outcome(number, -5.0 - number % 3, detector=f"{MODEL}+scan") for number in range(30))
    trading = TradingDays(lake)
    with Database(f"sqlite:///{tmp_path}/history.db") as database:
        promoter = Promoter(registry, database, "test")
        promoter.promote(first, over=None, reason="the first")
        promoter.promote(second, over=first.version, reason="better")
        # What alerts of the first version lost is not the second one's fault.
        others = bets_of_champions(trading, {days[1]: lost}, registry)
        assert losers(others, 0.95) == {}
        own = bets_of_champions(trading, {days[0]: lost, days[1]: lost}, registry)
        assert own.height == 30
        assert set(own["detector"].cast(pl.String)) == {MODEL}
        words = losers(own, 0.95)
        told = demote(registry, database, words)
        assert f"version {first.version} of {MODEL} is champion again in the place of {second.version}" in told[MODEL]
        assert registry.champion(MODEL).version == first.version
        assert "30 bets after its alerts earned -6.0 bps each" in history(database)[-1]["reason"]
        assert promoter.faults() == []
        # Both have lost: there is none to go back to.
        words = losers(bets_of_champions(trading, {days[1]: lost}, registry), 0.95)
        assert "stays, since there is no champion before it" in demote(registry, database, words)[MODEL]
        assert registry.champion(MODEL).version == first.version
        assert "has no champion any more" in demote(registry, database, words, retires=True)[MODEL]
        assert registry.champion(MODEL) is None
        assert bets_of_champions(trading, {days[1]: lost}, registry).is_empty()
        assert demote(registry, database, words) == {}
    mlflow.set_tracking_uri(before)
