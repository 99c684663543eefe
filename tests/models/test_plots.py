"""Plots are drawn, and differ with what they show."""

from io import BytesIO

import numpy as np
import polars as pl
import pytest
from matplotlib.image import imread

from models.evaluation import evaluate
from models.isolation_forest import IsolationForestDetector
from models.plots import beeswarm, precision_recall, recall_by_kind, score_distribution
from models.rules import volume_ratio
from tapewatch.market.instruments import Market
from tests.support.synthetic_days import days, synthetic_day


def pixels(png: bytes) -> np.ndarray:
    """The picture, which must not be blank."""
    assert png.startswith(b"\x89PNG")
    picture = imread(BytesIO(png))
    assert picture.std() > 0.05
    return picture


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return synthetic_day(Market.STOCKS, days(Market.STOCKS)[3]).regular


def test_evaluation_plots(detector: IsolationForestDetector, rows: pl.DataFrame) -> None:
    truth = synthetic_day(Market.STOCKS, days(Market.STOCKS)[3]).truth
    scored = detector.scored(rows).with_columns(rule_score=volume_ratio(rows))
    good = evaluate(scored, truth, threshold=detector.threshold, truth="source")
    swapped = scored.rename({"score": "rule_score", "rule_score": "score"})
    bad = evaluate(swapped, truth, threshold=3.0, truth="source")
    assert not np.array_equal(pixels(precision_recall(good)), pixels(precision_recall(bad)))
    assert not np.array_equal(pixels(recall_by_kind(good.by_kind)), pixels(recall_by_kind(bad.by_kind)))


def test_score_distribution(detector: IsolationForestDetector, rows: pl.DataFrame) -> None:
    pixels(score_distribution(detector.score(rows), detector.threshold))


def test_beeswarm_is_the_same_each_time_and_takes_nulls(detector: IsolationForestDetector, rows: pl.DataFrame) -> None:
    attributions = detector.explain(rows.head(30).with_columns(quoted_spread_bps=pl.lit(None, dtype=pl.Float64)))
    assert np.array_equal(pixels(beeswarm(attributions)), pixels(beeswarm(attributions)))
