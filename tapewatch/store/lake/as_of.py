"""Compiled searches of as-of joins: the row that holds at a time, among rows sorted by key and time."""

import numpy as np
import numpy.typing as npt

from tapewatch.market.compiled import njit

Ints = npt.NDArray[np.int64]


@njit(cache=True)
def is_in_order(bounds: Ints, event: Ints, known: Ints) -> bool:
    """Whether in each run of rows, `bounds[k]` to `bounds[k + 1]`, events ascend strictly and were known in their order."""
    for run in range(bounds.size - 1):
        for row in range(bounds[run] + 1, bounds[run + 1]):
            if event[row] <= event[row - 1] or known[row] < known[row - 1]:
                return False
    return True


@njit(cache=True)
def hold_at(
    runs: Ints,
    times: Ints,
    object_rows: tuple[Ints, Ints, Ints, Ints, Ints],
    held: Ints,
    this_object: int,
    ttl_ns: int,
) -> None:
    """Set in `held` which row of an object holds at each asked time, where none of an earlier object is newer.

    Args:
        runs: of each asked row: the run that holds its key's rows; -1 where there is none.
        times: asked times, ns.
        object_rows: bounds (run k has rows `bounds[k]` to `bounds[k + 1]`); from when on each row counts, ascending in each
            run; its event's time; when it was known; its number in the object.
        held: asked rows x 4: event, known, object and row; changed in place.
        this_object: number of the object.
        ttl_ns: for how long a row holds after its event; negative for ever.
    """
    bounds, by, event, known, numbers = object_rows
    for i in range(runs.size):
        if runs[i] < 0:
            continue
        low, high = bounds[runs[i]], bounds[runs[i] + 1]
        first = low
        while low < high:
            middle = (low + high) // 2
            if by[middle] <= times[i]:
                low = middle + 1
            else:
                high = middle
        row = low - 1
        if row < first or (0 <= ttl_ns < times[i] - event[row]):
            continue
        if (event[row], known[row]) >= (held[i, 0], held[i, 1]):
            held[i, 0], held[i, 1] = event[row], known[row]
            held[i, 2], held[i, 3] = this_object, numbers[row]
