"""Splits: purged by label end times, worked by hand and as properties of random labels."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score

from tapewatch.labels.training.splits import CombinatorialPurgedCV, LabelSpans, PurgedKFold, WalkForward

#: Ten labels at 0, 10, … 90, each 15 long: it overlaps its neighbours and no other.
STARTS = np.arange(10) * 10
SPANS = LabelSpans(STARTS, STARTS + 15)
X = np.zeros((10, 1))


def rows(splitter: PurgedKFold | WalkForward | CombinatorialPurgedCV) -> list[tuple[list[int], list[int]]]:
    return [(train.tolist(), test.tolist()) for train, test in splitter.split(X)]


def test_folds_lose_the_neighbours_that_overlap() -> None:
    assert rows(PurgedKFold(SPANS, 5)) == [
        ([3, 4, 5, 6, 7, 8, 9], [0, 1]),  # row 2 starts at 20, before row 1 ends at 25
        ([0, 5, 6, 7, 8, 9], [2, 3]),  # row 1 ends at 25, after row 2 starts at 20
        ([0, 1, 2, 7, 8, 9], [4, 5]),
        ([0, 1, 2, 3, 4, 9], [6, 7]),
        ([0, 1, 2, 3, 4, 5, 6], [8, 9]),
    ]


def test_an_embargo_counts_from_the_last_label_end() -> None:
    # The fold's last label ends at 25: rows from 30 to 45 are under an embargo of 20, row 4 at 40 included.
    assert rows(PurgedKFold(SPANS, 5, embargo_ns=20))[0] == ([5, 6, 7, 8, 9], [0, 1])
    assert rows(PurgedKFold(SPANS, 5, embargo_ns=14))[0] == ([3 + 1, 5, 6, 7, 8, 9], [0, 1])


def test_a_long_label_is_purged_where_a_count_of_rows_keeps_it() -> None:
    starts = np.arange(10) * 10
    ends = starts + 5
    ends[1] = 65  # far into the last fold
    spans = LabelSpans(starts, ends)
    train, test = list(PurgedKFold(spans, 2).split(X))[1]
    by_count = np.arange(5 - 2)  # leaves out the two rows before the test fold, however long the others' labels
    assert 1 in by_count
    assert ends[by_count].max() >= starts[test].min(), "the count leaks"
    assert train.tolist() == [0, 2, 3, 4]
    assert ends[train].max() < starts[test].min()


def test_walk_forward_trains_on_what_was_known() -> None:
    assert rows(WalkForward(SPANS, 4)) == [
        ([0], [2, 3]),
        ([0, 1, 2], [4, 5]),
        ([0, 1, 2, 3, 4], [6, 7]),
        ([0, 1, 2, 3, 4, 5, 6], [8, 9]),
    ]
    assert rows(WalkForward(SPANS, 4, window_ns=40))[3] == ([4, 5, 6], [8, 9])
    assert rows(WalkForward(SPANS, 4, gap_ns=6))[3] == ([0, 1, 2, 3, 4, 5], [8, 9])


def test_fifteen_splits_make_five_paths() -> None:
    splitter = CombinatorialPurgedCV(SPANS, 6, 2)
    assert (splitter.get_n_splits(), splitter.n_paths) == (15, 5)
    # López de Prado 2018, figure 12.1: splits S1 to S15, and the path to which each tested group belongs.
    assert splitter.paths().tolist() == [
        [0, 0, 1, 2, 3, 4],
        [1, 5, 5, 6, 7, 8],
        [2, 6, 9, 9, 10, 11],
        [3, 7, 10, 12, 12, 13],
        [4, 8, 11, 13, 14, 14],
    ]


def test_paths_hold_each_rows_prediction_by_the_right_split() -> None:
    splitter = CombinatorialPurgedCV(SPANS, 5, 2)
    predictions = [100.0 * k + test for k, (_, test) in enumerate(splitter.split(X))]
    paths = splitter.reconstruct(predictions)
    assert paths.shape == (4, 10)
    assert (paths % 100 == np.arange(10)).all()
    assert (paths // 100 == np.repeat(splitter.paths(), 2, axis=1)).all()
    with pytest.raises(ValueError, match=r"split 0 has 4 test rows and \(3,\) predictions"):
        splitter.reconstruct([predictions[0][:3], *predictions[1:]])
    with pytest.raises(ValueError, match="predictions of 9 splits were given, there are 10"):
        splitter.reconstruct(predictions[1:])


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), embargo=st.integers(0, 40))
def test_no_training_label_ever_overlaps_a_test_label(seed: int, embargo: int) -> None:
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, 500, 60)  # in no order, several at once
    spans = LabelSpans(starts, starts + rng.integers(0, 80, 60))
    rows_60 = np.zeros((60, 1))
    splitters = (
        PurgedKFold(spans, 4, embargo_ns=embargo),
        CombinatorialPurgedCV(spans, 5, 2, embargo_ns=embargo),
        WalkForward(spans, 4, gap_ns=embargo),
    )
    for splitter in splitters:
        tested = np.zeros(60, dtype=int)
        for train, test in splitter.split(rows_60):
            tested[test] += 1
            overlaps = (spans.starts[train, None] <= spans.ends[test]) & (spans.ends[train, None] >= spans.starts[test])
            assert not overlaps.any()
            if isinstance(splitter, WalkForward):
                assert not train.size or spans.ends[train].max() + embargo < spans.starts[test].min()
        assert len(set(tested[tested > 0])) <= 1


def test_scikit_learn_takes_them() -> None:
    y = np.arange(10) % 2
    assert cross_val_score(DummyClassifier(), X, y, cv=PurgedKFold(SPANS, 5)).shape == (5,)
    search = GridSearchCV(DummyClassifier(), {"strategy": ["prior", "uniform"]}, cv=CombinatorialPurgedCV(SPANS, 5, 2))
    assert search.fit(X, y).n_splits_ == 10


def test_spans_of_a_frame_and_refusals() -> None:
    times = pl.Series([0, 10], dtype=pl.Datetime("ns", "UTC"))
    frame = pl.DataFrame({"event_time": times}).with_columns(
        known_time=pl.col("event_time") + pl.duration(nanoseconds=5)
    )
    assert LabelSpans.of(frame).ends.tolist() == [5, 15]
    with pytest.raises(ValueError, match=r"known_time is null in 2 row\(s\)"):
        LabelSpans.of(frame.with_columns(known_time=None).cast({"known_time": times.dtype}))
    with pytest.raises(ValueError, match="label 1 ends before it starts"):
        LabelSpans(np.array([0, 5]), np.array([1, 4]))
    with pytest.raises(ValueError, match="10 rows cannot be split into 11 blocks"):
        PurgedKFold(SPANS, 11)
    with pytest.raises(ValueError, match="5 of 5 blocks cannot be tested"):
        CombinatorialPurgedCV(SPANS, 5, 5)
    with pytest.raises(ValueError, match="X has 9 rows and there are 10 label spans"):
        next(PurgedKFold(SPANS, 5).split(X[:9]))
