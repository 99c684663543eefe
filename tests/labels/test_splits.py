"""Walk-forward, purging, embargo and the folds built on them."""

import datetime as dt
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapewatch.labels.splits import combinatorial_purged, purged, purged_k_fold, walk_forward

DAYS = [dt.date(2024, 3, day) for day in (4, 5, 6, 7, 8)]

intervals = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 40)), min_size=6, max_size=60).map(
    lambda rows: (np.array([a for a, _ in rows]), np.array([a + b for a, b in rows]))
)


def test_walk_forward_expands() -> None:
    steps = list(walk_forward(DAYS[::-1], train_days=2, test_days=2))
    assert steps == [(DAYS[:2], DAYS[2:4]), (DAYS[:4], DAYS[4:])]


def test_walk_forward_rolls() -> None:
    steps = list(walk_forward(DAYS, train_days=2, expanding=False))
    assert [train for train, _ in steps] == [DAYS[0:2], DAYS[1:3], DAYS[2:4]]
    assert [test for _, test in steps] == [[day] for day in DAYS[2:]]


def test_too_few_days_are_refused() -> None:
    with pytest.raises(ValueError, match="load more days"):
        next(walk_forward(DAYS[:2], train_days=2))


def test_purging_by_hand() -> None:
    event = np.array([0, 10, 20, 30, 40, 50])
    known = np.array([5, 20, 29, 35, 45, 55])
    # The tested row is [20, 29]: row 1 ends where it begins; with an embargo of 2, row 3 at 30 begins too soon after.
    assert purged(event, known, np.array([2])).tolist() == [0, 3, 4, 5]
    assert purged(event, known, np.array([2]), embargo_ns=2).tolist() == [0, 4, 5]


@given(intervals, st.integers(2, 5), st.integers(0, 30))
@settings(deadline=None)
def test_no_training_interval_touches_a_tested_one(
    times: tuple[np.ndarray, np.ndarray], folds: int, embargo: int
) -> None:
    event, known = times
    tested = []
    for train, test in purged_k_fold(event, known, folds, embargo_ns=embargo):
        tested += test.tolist()
        for row in train:
            overlaps = (event[row] <= known[test] + embargo) & (known[row] >= event[test])
            assert not overlaps.any()
        kept = set(train.tolist()) | set(test.tolist())
        for row in set(range(event.size)) - kept:
            assert ((event[row] <= known[test] + embargo) & (known[row] >= event[test])).any(), "purged without need"
    assert sorted(tested) == list(range(event.size)), "each row is tested once"


@given(intervals)
@settings(deadline=None)
def test_combinatorial_paths(times: tuple[np.ndarray, np.ndarray]) -> None:
    event, known = times
    splits = list(combinatorial_purged(event, known, 4, test_groups=2))
    assert len(splits) == comb(4, 2)
    counts = np.zeros(event.size, dtype=int)
    for train, test in splits:
        counts[test] += 1
        assert not set(train.tolist()) & set(test.tolist())
    assert (counts == comb(3, 1)).all(), "each row is tested in every choice that holds its group"


@pytest.mark.parametrize("folds", [1, 7])
def test_impossible_folds_are_refused(folds: int) -> None:
    times = np.arange(6)
    with pytest.raises(ValueError, match="cannot be cut"):
        next(purged_k_fold(times, times, folds))


def test_labels_known_before_their_event_are_refused() -> None:
    with pytest.raises(ValueError, match="before its event"):
        purged(np.array([5, 6]), np.array([4, 7]), np.array([1]))
