"""Train and test splits for labels that take time: no training label overlaps a test label.

Splitters have scikit-learn's interface (`split`, `get_n_splits`) and go wherever it takes `cv`. A label is a span from the moment
at which its features are known to the moment at which its outcome is. Rows are purged by these times and not by a count of rows:
events are unevenly spaced and labels unequally long, so no count of rows is right for all of them.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.market.instruments import Partition

Times = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LabelSpans:
    """One span a row, in the order of the rows: both ends belong to it (int64 ns UTC).

    Raises:
        ValueError: starts and ends differ in number, or a label ends before it starts.
    """

    starts: Times
    ends: Times

    def __post_init__(self) -> None:
        if self.starts.shape != self.ends.shape or self.starts.ndim != 1:
            raise ValueError(f"each label needs a start and an end: got {self.starts.shape} and {self.ends.shape}")
        backwards = np.flatnonzero(self.ends < self.starts)
        if backwards.size:
            raise ValueError(f"label {backwards[0]} ends before it starts: {backwards.size} of {self.starts.size} do")

    @classmethod
    def of(cls, labels: pl.DataFrame, start: str = "event_time", end: str = "known_time") -> Self:
        """The spans of a frame's rows, such as BARRIER_LABELS. Raises ValueError where a time is null."""
        times = [labels[name].dt.epoch("ns") for name in (start, end)]
        for name, series in zip((start, end), times, strict=True):
            if series.null_count():
                raise ValueError(f"{name} is null in {series.null_count():,} row(s): keep the rows that have a label")
        return cls(times[0].to_numpy(), times[1].to_numpy())

    def __len__(self) -> int:
        return int(self.starts.size)


def purged(spans: LabelSpans, test: Sequence[Rows], embargo_ns: int = 0) -> Rows:
    """The rows that may train for `test` (López de Prado 2018, section 7.4).

    For each block of test rows, from its first start to its last end, a row is left out if its span overlaps the block's, or
    begins within `embargo_ns` after the block's last end. Test rows are left out too.
    """
    keeps = np.ones(len(spans), dtype=np.bool_)
    for block in test:
        if not block.size:
            continue
        first, last = spans.starts[block].min(), spans.ends[block].max()
        keeps &= (spans.ends < first) | (spans.starts > last + embargo_ns)
        keeps[block] = False
    return np.flatnonzero(keeps)


class _Splitter:
    """What the splitters share: rows in blocks of equal size by the start of their labels."""

    def __init__(self, spans: LabelSpans, blocks: int, embargo_ns: int) -> None:
        if embargo_ns < 0:
            raise ValueError(f"the embargo is {embargo_ns} ns: it cannot be negative")
        if not 2 <= blocks <= len(spans):
            raise ValueError(f"{len(spans)} rows cannot be split into {blocks} blocks: choose 2 to {len(spans)}")
        self.spans, self.embargo_ns = spans, embargo_ns
        order = np.argsort(spans.starts, kind="stable")
        self._blocks: list[Rows] = [np.sort(block) for block in np.array_split(order, blocks)]

    def _check(self, rows: Any) -> None:
        count = rows.shape[0] if hasattr(rows, "shape") else len(rows)
        if count != len(self.spans):
            raise ValueError(
                f"X has {count} rows and there are {len(self.spans)} label spans: they must be the same rows"
            )


class PurgedKFold(_Splitter):
    """K folds in order of time, purged by label end times, with an embargo after each test fold.

    Args:
        spans: of the rows that will be split, in their order.
        n_splits: number of folds.
        embargo_ns: rows that begin so soon after the last test label's end do not train.

    Raises:
        ValueError: fewer rows than folds, fewer than two folds, or a negative embargo.
    """

    def __init__(self, spans: LabelSpans, n_splits: int = 5, *, embargo_ns: int = 0) -> None:
        super().__init__(spans, n_splits, embargo_ns)

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:  # noqa: ARG002, N803
        return len(self._blocks)

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[Rows, Rows]]:  # noqa: ARG002, N803
        """Row numbers of training and test set, fold after fold. Raises ValueError if X has not a row for each span."""
        self._check(X)
        for block in self._blocks:
            yield purged(self.spans, [block], self.embargo_ns), block


class WalkForward(_Splitter):
    """Train on the past, test on the block that follows. Of `n_splits` + 1 blocks the first only trains.

    Args:
        spans: of the rows that will be split, in their order.
        n_splits: number of test blocks.
        gap_ns: a training label must have ended more than so long before the first test label starts.
        window_ns: training labels start at most so long before the first test label; None takes all of the past.

    Raises:
        ValueError: fewer rows than blocks, no block to test, or a negative gap or window.
    """

    def __init__(self, spans: LabelSpans, n_splits: int = 5, *, gap_ns: int = 0, window_ns: int | None = None) -> None:
        super().__init__(spans, n_splits + 1, gap_ns)
        if window_ns is not None and window_ns <= 0:
            raise ValueError(f"the training window is {window_ns} ns: it must be positive")
        self.window_ns = window_ns

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:  # noqa: ARG002, N803
        return len(self._blocks) - 1

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[Rows, Rows]]:  # noqa: ARG002, N803
        """Row numbers of training and test set, block after block. Raises ValueError if X has not a row for each span."""
        self._check(X)
        for block in self._blocks[1:]:
            first = self.spans.starts[block].min()
            is_past = self.spans.ends < first - self.embargo_ns
            if self.window_ns is not None:
                is_past &= self.spans.starts >= first - self.window_ns
            yield np.flatnonzero(is_past), block


class CombinatorialPurgedCV(_Splitter):
    """Every choice of `n_test_groups` of `n_groups` blocks is a test set (López de Prado 2018, section 12.4).

    Each block is tested in many splits, so their predictions join to several paths through the whole time, each row of which
    was predicted by a model that had not seen it. With 6 blocks of which 2 are tested there are 15 splits and 5 paths.

    Args:
        spans: of the rows that will be split, in their order.
        embargo_ns: rows that begin so soon after a test block's last label end do not train.

    Raises:
        ValueError: fewer rows than blocks, no test block, no block left for training, or a negative embargo.
    """

    def __init__(self, spans: LabelSpans, n_groups: int = 6, n_test_groups: int = 2, *, embargo_ns: int = 0) -> None:
        super().__init__(spans, n_groups, embargo_ns)
        if not 1 <= n_test_groups < n_groups:
            raise ValueError(f"{n_test_groups} of {n_groups} blocks cannot be tested: choose 1 to {n_groups - 1}")
        self._chosen = list(combinations(range(n_groups), n_test_groups))
        self.n_paths = math.comb(n_groups - 1, n_test_groups - 1)

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:  # noqa: ARG002, N803
        return len(self._chosen)

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[Rows, Rows]]:  # noqa: ARG002, N803
        """Row numbers of training and test set, choice after choice. Raises ValueError if X has not a row for each span."""
        self._check(X)
        for chosen in self._chosen:
            blocks = [self._blocks[i] for i in chosen]
            yield purged(self.spans, blocks, self.embargo_ns), np.sort(np.concatenate(blocks))

    def paths(self) -> npt.NDArray[np.int64]:
        """paths x blocks: the split whose prediction of a block belongs to a path. No prediction is used twice."""
        of_block = [
            [k for k, chosen in enumerate(self._chosen) if block in chosen] for block in range(len(self._blocks))
        ]
        return np.array(of_block, dtype=np.int64).T

    def reconstruct(self, predictions: Sequence[npt.ArrayLike]) -> npt.NDArray[np.float64]:
        """paths x rows: predictions joined to paths.

        Args:
            predictions: for each split in order, one value for each of its test rows, in their order.

        Raises:
            ValueError: there is not one value for each test row of each split.
        """
        whole = np.full((len(self._chosen), len(self.spans)), np.nan)
        if len(predictions) != len(self._chosen):
            raise ValueError(f"predictions of {len(predictions)} splits were given, there are {len(self._chosen)}")
        for k, (chosen, values) in enumerate(zip(self._chosen, predictions, strict=True)):
            rows, found = (
                np.sort(np.concatenate([self._blocks[i] for i in chosen])),
                np.asarray(values, dtype=np.float64),
            )
            if found.shape != rows.shape:
                raise ValueError(f"split {k} has {rows.size} test rows and {found.shape} predictions")
            whole[k, rows] = found
        joined = np.empty((self.n_paths, len(self.spans)))
        for path, splits in enumerate(self.paths()):
            for block, k in zip(self._blocks, splits, strict=True):
                joined[path, block] = whole[k, block]
        return joined


def split_days(partitions: Sequence[Partition], validation_share: float) -> tuple[list[Partition], list[Partition]]:
    """The earlier days for training and the later ones for validation. Raises ValueError if fewer than two days."""
    days = sorted({partition.date for partition in partitions})
    if len(days) < 2:
        raise ValueError(
            f"training needs features of at least two days, one to train and one to validate; the lake has "
            f"{len(days)}: materialize more days of labels/training_set"
        )
    first_validation = days[-max(1, min(round(len(days) * validation_share), len(days) - 1))]
    learn = [partition for partition in partitions if partition.date < first_validation]
    return learn, [partition for partition in partitions if partition.date >= first_validation]
