"""Compiled search of as-of joins: the row that holds at a time, among rows sorted by key, event and when each was known."""

import numpy as np
import numpy.typing as npt

from tapewatch.market.compiled import njit

Ints = npt.NDArray[np.int64]


@njit(cache=True)
def is_sorted(bounds: Ints, event: Ints, known: Ints) -> bool:
    """Whether the rows of each run, `bounds[k]` to `bounds[k + 1]`, ascend by event, and rows of one event by when they were known."""
    for run in range(bounds.size - 1):
        for row in range(bounds[run] + 1, bounds[run + 1]):
            if event[row] < event[row - 1] or (event[row] == event[row - 1] and known[row] < known[row - 1]):
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
        object_rows: bounds (run k has rows `bounds[k]` to `bounds[k + 1]`); each row's event, when it was known, and until when
            it was not replaced; its number in the object.
        held: asked rows x 4: event, known, object and row; changed in place.
        this_object: number of the object.
        ttl_ns: for how long a row holds after its event; negative for ever.
    """
    bounds, event, known, until, numbers = object_rows
    for i in range(runs.size):
        if runs[i] < 0:
            continue
        low, high = bounds[runs[i]], bounds[runs[i] + 1]
        first, time = low, times[i]
        while low < high:
            middle = (low + high) // 2
            if event[middle] <= time:
                low = middle + 1
            else:
                high = middle
        # Mostly the first or second row that is looked at: rows are known soon after their event.
        for row in range(low - 1, first - 1, -1):
            if 0 <= ttl_ns < time - event[row]:
                break
            if known[row] <= time < until[row]:
                if (event[row], known[row]) >= (held[i, 0], held[i, 1]):
                    held[i, 0], held[i, 1] = event[row], known[row]
                    held[i, 2], held[i, 3] = this_object, numbers[row]
                break
