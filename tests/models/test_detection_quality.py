"""The detector beats the trivial rule on unseen days, synthetic and recorded."""

from pathlib import Path

import polars as pl
import pytest

from models.evaluation import Evaluation, evaluate
from models.events import merge_anomalies
from models.isolation_forest.detector import IsolationForestDetector
from models.naming import UNUSUAL
from models.rules import volume_ratio
from tapewatch.features.microstructure import microstructure
from tapewatch.labels.injection.injection import inject
from tapewatch.labels.truth import truth_minutes
from tapewatch.market.instruments import Market
from tapewatch.market.tables.tape import ATTRIBUTIONS
from tests.support.recorded import TICK_DAYS, recorded_quotes, recorded_trades
from tests.support.synthetic_days import days, synthetic_day
from tests.support.tapes import stock_session


def judged(
    detector: IsolationForestDetector, features: pl.DataFrame, truth: pl.DataFrame, origin: str = "source"
) -> Evaluation:
    """The detector and the rule on the regular minutes."""
    rows = features.with_columns(rule_score=volume_ratio(features)).filter("is_regular")
    scored = detector.scored(rows).with_columns(rows["rule_score"])
    return evaluate(scored, truth, threshold=detector.threshold, truth=origin)


def share_of_right_names(detector: IsolationForestDetector, features: pl.DataFrame, truth: pl.DataFrame) -> float:
    """Of the alerts with a name, the share named as the anomaly that they overlap; those that overlap none are wrong."""
    rows = features.filter("is_regular")
    scored = detector.scored(rows)
    found = merge_anomalies(scored, ATTRIBUTIONS.empty(), rows, threshold=detector.threshold, model="m/1")
    named = found.filter(pl.col("kind") != UNUSUAL).select(
        pl.col("symbol", "kind").cast(pl.String), "start_time", "end_time"
    )
    assert named.height >= 10
    right = named.join_where(
        truth.select(pl.col("symbol", "kind").cast(pl.String), "event_time"),
        pl.col("symbol") == pl.col("symbol_right"),
        pl.col("kind") == pl.col("kind_right"),
        pl.col("start_time") <= pl.col("event_time"),
        pl.col("event_time") < pl.col("end_time"),
    )
    return right.select("symbol", "start_time").n_unique() / named.height


@pytest.mark.slow
@pytest.mark.parametrize(("market", "least_precision"), [(Market.STOCKS, 0.8), (Market.CRYPTO, 0.4)])
def test_on_the_synthetic_market(market: Market, least_precision: float) -> None:
    dates = days(market)
    detector = IsolationForestDetector().fit(pl.concat([synthetic_day(market, day).regular for day in dates[:3]]))
    later = [synthetic_day(market, day) for day in dates[3:]]
    metrics = judged(
        detector, pl.concat([day.features for day in later]), pl.concat([day.truth for day in later])
    ).metrics
    assert metrics["average_precision"] > 2 * metrics["rule_average_precision"]
    assert metrics["average_precision_gain_low"] > 0
    assert metrics["event_recall"] > max(0.5, metrics["rule_event_recall"] + 0.15)
    assert metrics["precision"] > least_precision
    features, truth = (pl.concat([getattr(day, name) for day in later]) for name in ("features", "truth"))
    assert share_of_right_names(detector, features, truth) >= 0.85


@pytest.mark.slow
@pytest.mark.real_tape
def test_on_recorded_days_with_injected_anomalies(market_data: Path) -> None:
    order = pl.col("symbol").cast(pl.String), "time", "sequence_number"
    tapes = [
        (
            recorded_trades(market_data, day).sort(*order),
            recorded_quotes(market_data, day).sort(*order),
            stock_session(day),
        )
        for day in TICK_DAYS
    ]
    rows = [microstructure(*tape).filter("is_regular") for tape in tapes[:2]]
    detector = IsolationForestDetector().fit(pl.concat(rows))
    injected = inject(*tapes[2], seed=0, per_symbol=10)
    features = microstructure(injected.trades, injected.quotes, tapes[2][2])
    truth = truth_minutes(injected.truth_events, tapes[2][2])
    assert share_of_right_names(detector, features, truth) >= 0.85
    result = judged(detector, features, truth, "injected")
    assert result.metrics["average_precision"] > 2 * result.metrics["rule_average_precision"]
    assert result.metrics["average_precision_gain_low"] > 0.2
    assert result.metrics["precision"] > 0.7
    recall = dict(result.by_kind.select(pl.col("kind").cast(pl.String), "recall").iter_rows())
    assert recall["all"] > 0.65
    assert recall["spread_blowout"] == 1.0
    assert recall["price_jump"] > 0.8
    assert recall["volume_spike"] > 0.6
