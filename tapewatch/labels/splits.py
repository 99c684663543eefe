"""What a model may learn from when it is to be judged on something else.

Sources: López de Prado 2018, sections 7.4 (purged k-fold, embargo) and 12.3 (combinatorial).
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int64]


def walk_forward(
    days: Sequence[dt.date], *, train_days: int, test_days: int = 1, expanding: bool = True
) -> Iterator[tuple[list[dt.date], list[dt.date]]]:
    """Train on the past, test on the days that follow, step on by the tested days.

    Args:
        days: trading days, in any order, each once or more.
        train_days: days of the first (and, unless `expanding`, every) training window.
        test_days: days of a test window; the last may be shorter.
        expanding: keep the past; else let it roll.

    Raises:
        ValueError: a window is not positive, or there are too few days for one step.
    """
    ordered = sorted(set(days))
    if train_days < 1 or test_days < 1:
        raise ValueError(f"windows must hold at least a day, not {train_days} and {test_days}")
    if len(ordered) <= train_days:
        raise ValueError(f"{len(ordered)} day(s) leave nothing to test after {train_days} of training: load more days")
    for first in range(train_days, len(ordered), test_days):
        begin = 0 if expanding else first - train_days
        yield ordered[begin:first], ordered[first : first + test_days]


def purged(event_ns: Times, known_ns: Times, test: Rows, *, embargo_ns: int = 0) -> Rows:
    """Rows fit for training beside the `test` rows, ascending.

    Left out are the test rows themselves, rows whose [event, known] interval overlaps a test row's (closed intervals: sharing
    an instant overlaps), and rows that begin within `embargo_ns` after a test row's interval ends.

    Args:
        event_ns: when each row happened, nanoseconds, any order.
        known_ns: when its label was known, not before `event_ns`.
        test: indices of the tested rows.
        embargo_ns: the embargo's length.

    Raises:
        ValueError: a label was known before it happened, or the embargo is negative.
    """
    if embargo_ns < 0:
        raise ValueError(f"an embargo cannot be negative: {embargo_ns}")
    if np.any(known_ns < event_ns):
        raise ValueError("a label cannot be known before its event")
    fit = np.ones(event_ns.size, dtype=np.bool_)
    fit[test] = False
    for begin, end in _merged(event_ns[test], known_ns[test] + embargo_ns):
        fit &= (known_ns < begin) | (event_ns > end)
    return np.flatnonzero(fit)


def purged_k_fold(event_ns: Times, known_ns: Times, folds: int, *, embargo_ns: int = 0) -> Iterator[tuple[Rows, Rows]]:
    """Training and test rows of each of `folds` stretches of time, by `event_ns`; each row is tested once.

    Raises:
        ValueError: fewer than two folds, or more folds than rows.
    """
    for test in _stretches(event_ns, folds):
        yield purged(event_ns, known_ns, test, embargo_ns=embargo_ns), test


def combinatorial_purged(
    event_ns: Times, known_ns: Times, groups: int, *, test_groups: int = 2, embargo_ns: int = 0
) -> Iterator[tuple[Rows, Rows]]:
    """Training and test rows for every choice of `test_groups` of `groups` stretches of time.

    Raises:
        ValueError: not 0 < `test_groups` < `groups`, or more groups than rows.
    """
    if not 0 < test_groups < groups:
        raise ValueError(f"test groups must be at least 1 and fewer than {groups}, not {test_groups}")
    for chosen in combinations(_stretches(event_ns, groups), test_groups):
        test = np.sort(np.concatenate(chosen))
        yield purged(event_ns, known_ns, test, embargo_ns=embargo_ns), test


def _stretches(event_ns: Times, count: int) -> list[Rows]:
    """Row indices cut into `count` stretches of time; rows of one instant stay together."""
    if not 1 < count <= event_ns.size:
        raise ValueError(f"{event_ns.size} row(s) cannot be cut into {count} stretches: give 2 to {event_ns.size}")
    order = np.argsort(event_ns, kind="stable")
    times = event_ns[order]
    cuts = [np.searchsorted(times, times[event_ns.size * i // count]) for i in range(1, count)]
    return [np.sort(stretch).astype(np.int64) for stretch in np.split(order, cuts)]


def _merged(begin_ns: Times, end_ns: Times) -> Iterator[tuple[int, int]]:
    """The union of closed intervals as disjoint ones, ascending."""
    order = np.argsort(begin_ns)
    begin_ns, end_ns = begin_ns[order], end_ns[order]
    if not begin_ns.size:
        return
    reach = np.maximum.accumulate(end_ns)
    breaks = np.flatnonzero(begin_ns[1:] > reach[:-1]) + 1
    for piece in np.split(np.arange(begin_ns.size), breaks):
        yield int(begin_ns[piece[0]]), int(reach[piece[-1]])
