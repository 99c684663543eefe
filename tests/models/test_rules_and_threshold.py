"""The trivial rule by hand, and thresholds within their budget."""

import datetime as dt

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.base import DetectorError
from models.rules import volume_ratio
from models.threshold import for_budget

START = dt.datetime(2024, 3, 5, 15, tzinfo=dt.UTC)


def volumes(symbol: str, values: list[float], *, skip: int = 0) -> pl.DataFrame:
    """Consecutive minutes with these volumes; after the first ten, `skip` minutes are missing."""
    return pl.DataFrame(
        {
            "symbol": [symbol] * len(values),
            "event_time": [START + dt.timedelta(minutes=i + (skip if i >= 10 else 0)) for i in range(len(values))],
            "volume": values,
        }
    )


def test_volume_over_the_mean_of_the_twenty_minutes_before() -> None:
    values = [float(i) for i in range(1, 41)]
    ratio = volume_ratio(volumes("AAA", values))
    assert ratio[:5].to_list() == [0.0] * 5, "too few minutes to compare with"
    assert ratio[5] == 6 / np.mean([1, 2, 3, 4, 5])
    assert ratio[30] == pytest.approx(31 / np.mean(values[10:30]))


def test_the_window_counts_minutes_not_rows() -> None:
    ratio = volume_ratio(volumes("AAA", [1.0] * 10 + [2.0] * 10, skip=30))
    assert ratio[10] == 0, "nothing in the last twenty minutes"
    assert ratio[16] == 1


def test_symbols_and_order_of_rows_do_not_matter() -> None:
    rng = np.random.default_rng(0)
    frame = pl.concat([volumes("AAA", rng.random(40).tolist()), volumes("BBB", (100 * rng.random(40)).tolist())])
    shuffled = frame.with_columns(ratio=volume_ratio(frame)).sample(fraction=1, shuffle=True, seed=0)
    assert volume_ratio(shuffled).to_list() == shuffled["ratio"].to_list()


@given(
    arrays(np.float64, st.integers(1, 300), elements=st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.9])),
    st.floats(0.1, 30),
)
def test_no_more_alerts_than_the_budget(scores: np.ndarray, budget: float) -> None:
    threshold = for_budget(scores, budget)
    allowed = int(scores.size * budget / 60)
    assert (scores >= threshold).sum() <= allowed
    lower = np.unique(scores[scores < threshold]).max(initial=-1)
    assert (scores >= lower).sum() > allowed, "a lower threshold would break the budget"


def test_impossible_budgets_are_refused() -> None:
    with pytest.raises(DetectorError, match="between 0 and 60"):
        for_budget(np.ones(3), 0)
    with pytest.raises(DetectorError, match="no scores"):
        for_budget(np.empty(0), 1)


def test_the_window_is_as_long_as_asked_and_a_silent_one_gives_zero() -> None:
    values = [float(i) for i in range(1, 21)]
    assert volume_ratio(volumes("AAA", values), minutes=7)[15] == pytest.approx(16 / np.mean(values[8:15]))
    assert volume_ratio(volumes("AAA", [0.0] * 10 + [5.0]))[10] == 0
    assert volume_ratio(volumes("AAA", [0.0] * 9 + [0.5, 5.0]))[10] == pytest.approx(5 / 0.05)


@pytest.mark.parametrize(("budget", "is_possible"), [(-1, False), (0, False), (0.5, True), (59.9, True), (60, False)])
def test_a_budget_lies_between_none_and_every_minute(budget: float, is_possible: bool) -> None:
    scores = np.arange(120.0)
    if not is_possible:
        with pytest.raises(DetectorError, match="between 0 and 60"):
            for_budget(scores, budget)
        return
    assert (scores >= for_budget(scores, budget)).sum() == int(2 * budget)
