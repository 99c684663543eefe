"""Plots: their data, and that they are drawn."""

from io import BytesIO

import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from models import plots
from models.evaluation import Evaluation, evaluate
from models.isolation_forest.detector import IsolationForestDetector
from models.plots import beeswarm, precision_recall, recall_by_kind, scan_recall_by_kind, score_distribution
from models.rules import volume_ratio
from tapewatch.market.instruments import Market
from tapewatch.market.tables.tape import ATTRIBUTIONS
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


@pytest.mark.long
def test_evaluation_plots(detector: IsolationForestDetector, rows: pl.DataFrame) -> None:
    truth = synthetic_day(Market.STOCKS, days(Market.STOCKS)[3]).truth
    scored = detector.scored(rows).with_columns(rule_score=volume_ratio(rows))
    good = evaluate(scored, truth, threshold=detector.threshold, truth="source")
    swapped = scored.rename({"score": "rule_score", "rule_score": "score"})
    bad = evaluate(swapped, truth, threshold=3.0, truth="source")
    assert not np.array_equal(pixels(precision_recall(good)), pixels(precision_recall(bad)))
    assert not np.array_equal(pixels(recall_by_kind(good.by_kind)), pixels(recall_by_kind(bad.by_kind)))


@pytest.mark.long
def test_score_distribution(detector: IsolationForestDetector, rows: pl.DataFrame) -> None:
    pixels(score_distribution(detector.score(rows), detector.threshold))


def test_beeswarm_is_the_same_each_time_and_takes_nulls(detector: IsolationForestDetector, rows: pl.DataFrame) -> None:
    attributions = detector.explain(rows.head(30).with_columns(quoted_spread_bps=pl.lit(None, dtype=pl.Float64)))
    assert np.array_equal(pixels(beeswarm(attributions)), pixels(beeswarm(attributions)))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures behind the pictures."""
    figures: list[Figure] = []

    def png(figure: Figure) -> bytes:
        figures.append(figure)
        return b""

    monkeypatch.setattr(plots, "_png", png)
    return figures


def test_bars_of_the_scan_show_recall_and_interval_of_the_kinds_that_were_there(drawn: list[Figure]) -> None:
    rows = {"kind": ["all", "b", "c"], "events": [9, 4, 0], "recall": [0.5, 0.25, None]}
    scan_recall_by_kind(pl.DataFrame({**rows, "recall_low": [0.25, 0.1, None], "recall_high": [0.75, 0.6, None]}))
    (axes,) = drawn[0].axes
    assert [bar.get_width() for bar in axes.patches] == [0.5, 0.25]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["all (9)", "b (4)"]
    (lines,) = axes.collections
    spans = [segment[:, 0].tolist() for segment in lines.get_segments()]
    np.testing.assert_allclose(spans, [[0.25, 0.75], [0.1, 0.6]])


def test_bars_show_both_recalls_of_each_kind(drawn: list[Figure]) -> None:
    by_kind = pl.DataFrame({"kind": ["all", "b"], "events": [9, 4], "recall": [0.5, 0.25], "rule_recall": [0.125, 0.0]})
    recall_by_kind(by_kind)
    (axes,) = drawn[0].axes
    bars = [[(bar.get_y() + bar.get_height() / 2, bar.get_width()) for bar in group] for group in axes.containers]
    np.testing.assert_allclose(bars, [[(-0.2, 0.5), (0.8, 0.25)], [(0.2, 0.125), (1.2, 0.0)]], atol=1e-12)
    assert [bar.get_height() for group in axes.containers for bar in group] == pytest.approx([0.4] * 4)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["all (9)", "b (4)"]
    assert axes.yaxis_inverted()
    assert axes.get_xlim() == (0, 1)
    assert not axes.get_legend().get_frame_on()
    legend, within = axes.get_legend().get_window_extent(), axes.get_window_extent()
    assert legend.x0 >= within.x1, "it covers no bar"
    assert not axes.spines["top"].get_visible()


def test_the_histogram_counts_every_minute(drawn: list[Figure]) -> None:
    score_distribution(np.linspace(0.2, 0.8, 800), 0.612)
    (axes,) = drawn[0].axes
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([10] * 80)
    assert axes.get_yscale() == "log"
    assert axes.get_legend().get_texts()[0].get_text() == "threshold 0.612"
    assert not axes.get_legend().get_frame_on()
    assert axes.lines[0].get_xdata()[0] == 0.612


def test_the_operating_points_lie_on_their_curves(drawn: list[Figure]) -> None:
    minutes = pl.DataFrame(
        {"is_anomaly": [True, False, True, False], "score": [0.9, 0.8, 0.7, 0.1], "rule_score": [5.0, 4.0, 1.0, 2.0]}
    )
    metrics = {"average_precision": 0.83, "recall": 0.5, "precision": 1.0}
    metrics |= {f"rule_{name}": value / 2 for name, value in metrics.items()}
    precision_recall(Evaluation(metrics, pl.DataFrame(), minutes))
    (axes,) = drawn[0].axes
    points = [(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines if line.get_marker() == "o"]
    assert points == [(0.5, 1.0), (0.25, 0.5)]
    curve = axes.lines[0]
    np.testing.assert_allclose(curve.get_xdata(), [1, 1, 0.5, 0.5, 0])
    np.testing.assert_allclose(curve.get_ydata(), [0.5, 2 / 3, 0.5, 1, 1])
    assert axes.get_ylim() == (0, 1.02)
    assert not axes.get_legend().get_frame_on()


def test_dots_lie_on_their_features_row_coloured_by_the_rank_of_the_value(drawn: list[Figure]) -> None:
    weights = {f"f{i:02d}": 0.1 * (20 - i) for i in range(18)}
    rows = [
        ("AAA", None, name, value, sign * weight, 0.5)
        for name, weight in weights.items()
        for value, sign in ((5.0, -1), (None, 1), (7.0, 1), (5.0, 1))
    ]
    beeswarm(pl.DataFrame(rows, schema=ATTRIBUTIONS.schema, orient="row"), seed=4)
    (axes,) = drawn[0].axes
    assert len(axes.collections) == 15
    assert [label.get_text() for label in axes.get_yticklabels()] == list(weights)[:15]
    jitter = np.random.default_rng(4)
    for place, dots in enumerate(axes.collections):
        weight = 0.1 * (20 - place)
        x, y = np.asarray(dots.get_offsets()).T
        np.testing.assert_allclose(x, [-weight, weight, weight, weight])
        np.testing.assert_allclose(y, place + jitter.uniform(-0.3, 0.3, 4))
        np.testing.assert_allclose(dots.get_array(), np.array([1.5, 0, 3, 1.5]) / 4)
        assert dots.get_clim() == (0, 1)
    assert axes.yaxis_inverted()
    assert axes.lines[0].get_xdata()[0] == 0


def test_pictures_have_their_size() -> None:
    assert pixels(score_distribution(np.linspace(0, 1, 50), 0.5)).shape[:2] == (495, 880)
