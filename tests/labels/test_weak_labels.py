"""Weak labels: which minutes a finding covers, and how votes are joined."""

import numpy as np
import polars as pl
import pytest

from tapewatch.labels.weak_labels import covered, weak_labels
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND
from tapewatch.market.tables.labels import WEAK_LABELS
from tapewatch.market.tables.tape import TIME
from tests.support.price_bars import START_NS


def minutes(count: int, symbols: str = "AB") -> pl.DataFrame:
    start = START_NS + np.tile(np.arange(count), len(symbols)) * NS_PER_MINUTE
    return pl.DataFrame({"symbol": np.repeat(list(symbols), count), "event_time": start}).with_columns(
        pl.col("symbol").cast(pl.Categorical()),
        pl.col("event_time").cast(TIME),
        known_time=(pl.col("event_time") + NS_PER_MINUTE).cast(TIME),
    )


def findings(*spans: tuple[str, float, float]) -> pl.DataFrame:
    """Symbol, start and end in minutes."""
    rows = [(symbol, *(START_NS + int(at * 60 * NS_PER_SECOND) for at in span)) for symbol, *span in spans]
    frame = pl.DataFrame(rows, schema=["symbol", "start_time", "end_time"], orient="row")
    return frame.with_columns(pl.col("start_time", "end_time").cast(TIME))


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (("A", 1.5, 2.5), [1, 2]),
        (("A", 1, 2), [1]),  # half open
        (("B", 3, 3), [4 + 3]),  # an empty one has its minute
        (("", 0.5, 1.5), [0, 1, 4, 5]),  # the whole feed
        (("C", 0, 9), []),
        (("A", -5, 9), [0, 1, 2, 3]),
    ],
)
def test_a_finding_covers_the_minutes_that_it_overlaps(span: tuple[str, float, float], expected: list[int]) -> None:
    assert np.flatnonzero(covered(minutes(4), findings(span))).tolist() == expected


def test_sources_that_agree_are_believed() -> None:
    rows = minutes(1_000, "A")
    rng = np.random.default_rng(2)
    truth = rng.random(1_000) < 0.1
    fires = {
        name: np.where(rng.random(1_000) < right, truth, rng.random(1_000) < 0.1)
        for name, right in (("good", 0.95), ("fair", 0.85), ("poor", 0.3))
    }
    labelled, model, sources = weak_labels(rows, fires, {"silent": findings()})
    WEAK_LABELS.check(labelled)
    assert sources == ["fair", "good", "poor"]
    assert model is not None
    assert model.sensitivity[1] > model.sensitivity[2]
    by_votes = dict(labelled.select("votes", "probability").iter_rows())
    assert by_votes["fair,good,poor"] > 0.9
    assert by_votes["poor"] < 0.5
    assert labelled.height == np.any(list(fires.values()), axis=0).sum(), "quiet minutes have no row"


def test_two_sources_are_counted() -> None:
    labelled, model, _ = weak_labels(minutes(4, "A"), {"x": np.array([1, 1, 0, 0], bool)}, {"y": findings(("A", 0, 1))})
    assert model is None
    assert labelled.select("probability", "label", "votes").rows() == [(1.0, 1, "x,y"), (0.5, 1, "x")]
    assert weak_labels(minutes(4), {}, {})[0].is_empty()
