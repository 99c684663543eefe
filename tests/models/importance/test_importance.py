"""Importance finds the feature that matters, and says what attributions add up to."""

import numpy as np
import polars as pl
import pytest

from models.importance.attributed import additivity, mean_absolute, steadiness
from models.importance.permutation import clusters, decreases, decreases_unseen
from models.isolation_forest.detector import ForestParameters, IsolationForestDetector
from tapewatch.market.tables.tape import ATTRIBUTIONS
from tests.support.detectors import ordinary_rows


def _labelled() -> pl.DataFrame:
    """Two days of which every sixtieth minute is anomalous: its spread is wide, by both measures."""
    rows = pl.concat(
        [ordinary_rows(0), ordinary_rows(1).with_columns(pl.col("event_time", "known_time").dt.offset_by("1d"))]
    )
    anomalous = pl.Series(np.arange(rows.height) % 60 == 7)
    factor = pl.when(anomalous).then(60.0).otherwise(1.0)
    return rows.with_columns(pl.col("quoted_spread_bps", "spread_ratio") * factor, is_anomaly=anomalous)


def test_the_feature_that_tells_anomalies_matters_most() -> None:
    rows = _labelled()
    groups = {"spread": ["quoted_spread_bps", "spread_ratio"], "volume": ["volume_ratio"], "price": ["return_bps"]}
    found = decreases(IsolationForestDetector(ForestParameters(trees=30), seed=1), rows, groups)
    assert found[0].name == "spread"
    assert found[0].mean > 0.3
    assert all(abs(each.mean) < 0.1 for each in found[1:])


def test_without_fitting_again_the_same_feature_matters_on_unseen_days() -> None:
    rows = _labelled()
    groups = {"spread": ["quoted_spread_bps", "spread_ratio"], "volume": ["volume_ratio"], "price": ["return_bps"]}
    first = rows["event_time"].dt.date() == rows["event_time"].dt.date().min()
    fitted = IsolationForestDetector(ForestParameters(trees=30), seed=1).fit(rows.filter(first))
    found = decreases_unseen(fitted, rows.filter(~first), groups)
    assert found == decreases_unseen(fitted, rows.filter(~first).sample(fraction=1.0, shuffle=True, seed=2), groups)
    assert found[0].name == "spread"
    assert found[0].mean > 0.3
    assert all(abs(each.mean) < 0.1 for each in found[1:])
    ordinary = rows.with_columns(is_anomaly=pl.lit(value=False))
    assert decreases_unseen(fitted, ordinary, groups) == decreases(fitted, ordinary, groups) == []


def test_features_that_say_alike_are_one_group() -> None:
    rows = ordinary_rows().with_columns(spread_ratio=2 * pl.col("quoted_spread_bps") ** 2)
    found = clusters(rows, ["quoted_spread_bps", "volume_ratio", "spread_ratio", "mid_return_bps"])
    assert found == {
        "quoted_spread_bps": ["quoted_spread_bps", "spread_ratio"],
        "volume_ratio": ["volume_ratio"],
        "mid_return_bps": ["mid_return_bps"],
    }


def _attributions(shares: np.ndarray, score: np.ndarray) -> pl.DataFrame:
    rows = ordinary_rows().head(len(score)).select("symbol", "event_time").with_columns(score=pl.Series(score))
    parts = [
        rows.with_columns(feature=pl.lit(f"feature {at}"), value=pl.lit(1.0), shap_value=pl.Series(shares[:, at]))
        for at in range(shares.shape[1])
    ]
    return ATTRIBUTIONS.conform(pl.concat(parts))


def test_additivity_names_what_the_sums_are() -> None:
    shares = np.random.default_rng(2).uniform(0.1, 1, (20, 3))
    of_score = additivity(_attributions(shares, shares.sum(axis=1)))
    of_path = additivity(_attributions(shares, 2.0 ** (0.3 * shares.sum(axis=1) - 1.2)))
    assert of_score == ("score", pytest.approx(0.0, abs=1e-9))
    assert of_path == ("log2 of the score", pytest.approx(0.0, abs=1e-9))
    margin = shares.sum(axis=1)
    ladder = _attributions(shares, np.round(margin))
    margins = ladder.group_by("symbol", "event_time").agg(value=pl.col("shap_value").sum())
    assert additivity(ladder, {"margin": margins}) == ("margin", pytest.approx(0.0, abs=1e-9))
    broken = shares + np.random.default_rng(3).normal(0, 0.2, shares.shape)
    assert additivity(_attributions(broken, shares.sum(axis=1)))[1] > 0.05


def test_the_forest_s_attributions_are_additive() -> None:
    rows = _labelled()
    detector = IsolationForestDetector(ForestParameters(trees=30), seed=1).fit(rows)
    form, off = additivity(detector.explain(rows.head(40)))
    assert form == "log2 of the score"
    assert off < 1e-6


def test_importance_and_steadiness_by_hand() -> None:
    attributions = _attributions(np.array([[1.0, -3.0], [-2.0, 5.0]]), np.array([0.5, 0.6]))
    assert mean_absolute(attributions) == {"feature 1": 4.0, "feature 0": 1.5}
    assert steadiness({"a": 3, "b": 2, "c": 1}, {"a": 30, "b": 20, "c": 10}) == pytest.approx(1.0)
    assert steadiness({"a": 3, "b": 2, "c": 1}, {"a": 1, "b": 2, "c": 3}) == pytest.approx(-1.0)
    assert np.isnan(steadiness({"a": 3}, {"a": 3}))
