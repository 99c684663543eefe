"""Shapes of anomalies, and the exact nearest of them."""

import datetime as dt

import numpy as np
import polars as pl
import pytest

from benchmarks.detectors.nearest_patterns import made_up
from models.patterns.index import PatternIndex
from models.patterns.shape import SHAPE, shape
from tests.support.detectors import ordinary_rows

ROWS = ordinary_rows().filter(pl.col("symbol").cast(pl.String) == "AAPL").sort("event_time")
START, END = (ROWS["event_time"][at] for at in (200, 203))


def _with(minute: int, **values: float) -> pl.DataFrame:
    at = pl.int_range(pl.len()) == minute
    return ROWS.with_columns(
        pl.when(at).then(value).otherwise(pl.col(name)).alias(name) for name, value in values.items()
    )


def test_a_shape_is_the_extreme_and_the_change_of_each_feature() -> None:
    rows = _with(201, depth_imbalance=-0.9)
    found = dict(zip(SHAPE, shape(rows, START, END), strict=True))
    # By hand: depth imbalance is not transformed, and 200 minutes are complete when the event begins.
    values = rows["depth_imbalance"].to_numpy()
    low, centre, high = np.quantile(values[:200], [0.25, 0.5, 0.75], method="nearest")
    off = np.arcsinh((values - centre) / max((high - low) / 1.349, 0.05))
    assert found["depth_imbalance_extreme"] == pytest.approx(off[201], abs=0.02)
    assert found["depth_imbalance_change"] == pytest.approx(off[200:203].mean() - off[190:200].mean(), abs=0.02)


def test_later_minutes_change_no_shape_and_too_few_before_give_none() -> None:
    wild = ROWS.with_columns(
        pl.when(pl.col("event_time") >= END).then(9.0).otherwise(pl.col("spread_ratio")).alias("spread_ratio")
    )
    assert (shape(wild, START, END) == shape(ROWS, START, END)).all()
    assert not shape(ROWS.slice(190), START, END).any()


def test_a_missing_feature_counts_as_usual() -> None:
    found = dict(zip(SHAPE, shape(ROWS.with_columns(spread_ratio=pl.lit(None, pl.Float64)), START, END), strict=True))
    assert found["spread_ratio_extreme"] == found["spread_ratio_change"] == 0.0


def test_the_nearest_are_those_of_a_full_sort_and_only_known_ones() -> None:
    events = made_up(5000, seed=4)
    noon = dt.datetime(2024, 6, 3, 12, tzinfo=dt.UTC)
    known = pl.Series([noon + dt.timedelta(seconds=at) for at in range(events.height)]).cast(pl.Datetime("ns", "UTC"))
    events = events.with_columns(known_time=known)
    index = PatternIndex.of(events)
    points = events.select(SHAPE).to_numpy()
    for seed in range(5):
        sought = np.random.default_rng(seed).standard_t(4, len(SHAPE))
        distances = np.linalg.norm(points - sought, axis=1)
        every = index.nearest(sought, 7)
        np.testing.assert_allclose(every["distance"], np.sort(distances)[:7], rtol=1e-5)
        until = index.nearest(sought, 7, before=noon + dt.timedelta(seconds=999))
        np.testing.assert_allclose(until["distance"], np.sort(distances[:1000])[:7], rtol=1e-5)
    assert index.nearest(points[42])["pattern_id"][0] == "42"
    assert index.nearest(points[42], before=noon - dt.timedelta(days=1)).is_empty()
    assert PatternIndex.of(events.head(3)).nearest(points[0], 5).height == 3
