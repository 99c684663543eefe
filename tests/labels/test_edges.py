"""Edges: change points against an exhaustive search, and the edges of changes put into a made tape."""

from itertools import combinations

import numpy as np
import polars as pl
import pytest

from tapewatch.labels.people.edges import change_points, refine
from tapewatch.market.instruments import NS_PER_SECOND
from tests.support.burst_tape import at, tape
from tests.support.price_bars import START_NS


def cost(values: np.ndarray, cuts: tuple[int, ...], penalty: float) -> float:
    parts = np.split(values, cuts)
    return sum(float(((part - part.mean(axis=0)) ** 2).sum()) for part in parts) + penalty * len(cuts)


@pytest.mark.parametrize("seed", range(6))
def test_change_points_are_the_cheapest_of_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 1, (16, 2)) + np.repeat(rng.normal(0, 3, (4, 2)), 4, axis=0)
    allowed = [
        cuts for count in range(4) for cuts in combinations(range(1, 16), count) if min(np.diff([0, *cuts, 16])) >= 3
    ]
    best = min(allowed, key=lambda cuts: cost(values, cuts, 6.0))
    assert change_points(values, 6.0) == list(best)


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize(("rough_start", "rough_end"), [(560, 800), (630, 760), (600, 780), (540, 900)])
def test_rough_edges_are_tightened(wide: bool, rough_start: int, rough_end: int) -> None:
    refined = refine(*tape(wide=wide), at(rough_start), at(rough_end))
    assert refined.start is not None
    assert refined.end is not None
    for edge, true in ((refined.start, 600), (refined.end, 780)):
        off = abs(edge.time_ns - at(true)) / NS_PER_SECOND
        assert off <= 2, "the right second, or one of its neighbours"
        assert off <= edge.uncertainty_s + 1
        assert edge.uncertainty_s <= 5


def test_a_quiet_tape_has_no_edges() -> None:
    refined = refine(*tape(burst=None), at(560), at(800))
    assert (refined.start, refined.end) == (None, None)


@pytest.mark.parametrize("seed", range(8))
def test_a_price_that_wanders_has_no_edges_and_one_that_jumps_has(seed: int) -> None:
    trades, quotes = tape(seed, burst=None)
    refined = refine(trades, quotes, at(560), at(800))
    assert (refined.start, refined.end) == (None, None)
    seconds = (trades["time"].dt.epoch("ns").to_numpy() - START_NS) / NS_PER_SECOND
    inside = (seconds >= 600) & (seconds < 780)
    refined = refine(trades.with_columns(price=pl.col("price") * (1 + 0.003 * inside)), None, at(560), at(800))
    assert refined.start is not None
    assert refined.end is not None
    assert abs(refined.start.time_ns - at(600)) <= 3 * NS_PER_SECOND
    assert abs(refined.end.time_ns - at(780)) <= 3 * NS_PER_SECOND


def test_a_change_beyond_the_margin_is_another() -> None:
    refined = refine(*tape(burst=(100, 180)), at(800), at(900))
    assert (refined.start, refined.end) == (None, None)


def test_one_change_is_one_edge() -> None:
    refined = refine(*tape(burst=(600, 1_500)), at(590), at(700))
    assert refined.start is not None
    assert refined.end is None


def test_a_fainter_change_is_less_certain() -> None:
    trades, _ = tape(burst=None)
    seconds = (trades["time"].dt.epoch("ns").to_numpy() - START_NS) / NS_PER_SECOND
    inside = pl.Series((seconds >= 600) & (seconds < 780))
    faint, clear = (
        refine(
            trades.with_columns(size=pl.when(inside).then(pl.col("size") * k).otherwise("size")), None, at(580), at(790)
        )
        for k in (3.0, 12.0)
    )
    assert faint.start is not None
    assert clear.start is not None
    assert faint.start.uncertainty_s >= clear.start.uncertainty_s


def test_no_tape_and_no_interval() -> None:
    trades, quotes = tape()
    assert refine(trades.clear(), quotes.clear(), at(1), at(2)).start is None
    with pytest.raises(ValueError, match="ends after it starts"):
        refine(trades, quotes, at(5), at(5))
