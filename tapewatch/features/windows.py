"""Sums over trailing minutes, each added up from its own minutes alone, so that rounding does not accumulate."""

import numpy as np
import numpy.typing as npt

from tapewatch.market.arrays import Array
from tapewatch.market.compiled import njit

#: Minutes of a trailing window, and the fewest for a usual value.
WINDOW, ENOUGH = 30, 5


def trailing_sums(
    columns: Array, minute: Array, segment: Array, *, with_current: bool, width: int = WINDOW
) -> npt.NDArray[np.float64]:
    """Sums of each row of `columns` over the trailing `width` minutes by the clock, within the row's segment.

    Args:
        columns: float64, columns × rows; NaN counts as 0.
        minute: int64, each row's minute on any common clock; ascends within a segment.
        segment: int64, ascends; a window holds rows of one segment only.
        with_current: the window ends with the row's own minute; otherwise with the one before it.
        width: minutes that the window holds.

    Returns:
        columns × rows.
    """
    sums = np.zeros_like(columns)
    _add_up(columns, minute, segment, with_current, width, sums)
    return sums


def trailing_extremes(high: Array, minute: Array, segment: Array) -> npt.NDArray[np.float64]:
    """The largest of `high` over the trailing `WINDOW` minutes, the row's own included; NaN where all are NaN."""
    largest = np.full_like(high, np.nan)
    _find_largest(high, minute, segment, largest)
    return largest


def minutes_before(minute: Array, segment: Array) -> npt.NDArray[np.int64]:
    """Minutes of the window before each row within its segment: from 0, at the segment's start, to `WINDOW`."""
    if not minute.size:
        return minute
    is_first = np.diff(segment, prepend=segment[0] - 1) != 0
    start = minute[is_first][np.cumsum(is_first) - 1]
    elapsed: npt.NDArray[np.int64] = np.minimum(minute - start, WINDOW)
    return elapsed


@njit(cache=True, nogil=True)
def _add_up(columns: Array, minute: Array, segment: Array, with_current: bool, width: int, sums: Array) -> None:
    first = 0
    for row in range(minute.size):
        oldest = minute[row] - width + with_current
        while segment[first] != segment[row] or minute[first] < oldest:
            first += 1
            if first == row:
                break
        for column in range(columns.shape[0]):
            total = 0.0
            for other in range(first, row + with_current):
                value = columns[column, other]
                total += 0.0 if np.isnan(value) else value
            sums[column, row] = total


@njit(cache=True, nogil=True)
def _find_largest(high: Array, minute: Array, segment: Array, largest: Array) -> None:
    first = 0
    for row in range(minute.size):
        while segment[first] != segment[row] or minute[first] <= minute[row] - WINDOW:
            first += 1
        for other in range(first, row + 1):
            if not high[other] <= largest[row] and not np.isnan(high[other]):
                largest[row] = high[other]
