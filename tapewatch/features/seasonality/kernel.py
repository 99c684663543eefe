"""The compiled sums of trailing windows."""

import numpy as np
import numpy.typing as npt

from tapewatch.market.compiled import njit

Floats = npt.NDArray[np.float64]


@njit(cache=True, nogil=True)
def window_sums(values: Floats, begin: int, lag: int, window: int) -> tuple[Floats, Floats]:
    """Count and sum of the finite values of each row's window, from row `begin` on: those from `lag` + `window` to `lag` + 1 before.

    Each window is summed anew, in order of time, so that a sum depends on its own values alone.
    """
    count, total = np.zeros((2, values.shape[0] - begin, values.shape[1]))
    for row in range(begin, values.shape[0]):
        for at in range(max(row - lag - window, 0), row - lag):
            for column in range(values.shape[1]):
                if np.isfinite(values[at, column]):
                    count[row - begin, column] += 1.0
                    total[row - begin, column] += values[at, column]
    return count, total
