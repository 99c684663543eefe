"""Agreement: published figures, and scikit-learn's kappa."""

import datetime as dt

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import cohen_kappa_score

from tapewatch.labels.people.agreement import cohen_kappa, krippendorff_alpha, minute_verdicts
from tapewatch.market.instruments import NS_PER_MINUTE
from tests.support.price_bars import START_NS, after

#: Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability", section C: four observers, twelve units.
PUBLISHED = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]


def test_alpha_of_the_published_example() -> None:
    assert krippendorff_alpha(PUBLISHED) == pytest.approx(0.743, abs=5e-4)
    interval = krippendorff_alpha(PUBLISHED, lambda a, b: float((a - b) ** 2))  # type: ignore[operator]
    assert interval == pytest.approx(0.849, abs=5e-4)


def test_alpha_of_two_observers_of_ten_units() -> None:
    # Section A of the same paper: binary data, alpha 0.095.
    first, second = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    assert krippendorff_alpha([first, second]) == pytest.approx(0.095, abs=5e-4)


def test_alpha_needs_variety_and_units_judged_twice() -> None:
    assert krippendorff_alpha([["a", "a"], ["a", "a"]]) is None
    assert krippendorff_alpha([["a", None], [None, "b"]]) is None
    assert krippendorff_alpha([]) is None
    with pytest.raises(ValueError, match="every annotator for every unit"):
        krippendorff_alpha([["a"], ["a", "b"]])


def test_kappa_of_fifty_proposals() -> None:
    # 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: observed 0.7, expected 0.5.
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert cohen_kappa(first, second) == pytest.approx(0.4)


def test_kappa_is_scikit_learns() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        first = rng.integers(0, 4, 50)
        second = np.where(rng.random(50) < 0.5, first, rng.integers(0, 4, 50))
        assert cohen_kappa(first.tolist(), second.tolist()) == pytest.approx(cohen_kappa_score(first, second))


def test_kappa_without_variety_or_units() -> None:
    assert cohen_kappa(["a", "a"], ["a", "a"]) is None
    with pytest.raises(ValueError, match="got 1 and 2 verdicts"):
        cohen_kappa(["a"], ["a", "b"])


def test_minutes_of_the_days_that_were_judged() -> None:
    day = dt.date(2024, 3, 5)
    labels = pl.DataFrame(
        [
            ("ann", "A", day, "price_jump", after(1), after(2) + dt.timedelta(seconds=30)),
            ("ben", "A", day, "price_jump", after(2), after(3)),
            ("ben", "B", day, "normal", after(0), after(4)),
        ],
        schema=["author", "symbol", "date", "kind", "start_time", "end_time"],
        orient="row",
    ).with_columns(pl.col("start_time", "end_time").cast(pl.Datetime("ns", "UTC")))
    bounds = {(symbol, str(day)): (START_NS, START_NS + 4 * NS_PER_MINUTE) for symbol in "AB"}
    assert minute_verdicts(labels, bounds) == {
        "ann": ["normal", "price_jump", "price_jump", "normal", None, None, None, None],
        "ben": ["normal", "normal", "price_jump", "normal"] + ["normal"] * 4,
    }
