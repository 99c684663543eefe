"""Statistics of two series over trailing windows. Each window is summed anew, so that a value depends on it alone.

Arrays are float64, minutes x symbols. A window with a NaN, or that begins before the day, gives NaN, and so do the rows before
`begin`, which are not computed.
"""

import numpy as np

from tapewatch.market.arrays import Array
from tapewatch.market.compiled import njit

compiled = njit(cache=True, nogil=True, error_model="numpy")


@compiled
def moments(x: Array, y: Array, first: int, last: int, at: int) -> tuple[float, float, float]:
    """Mean-centred sums of squares of x and of y, and of products, of rows `first` to before `last` of a column."""
    size = last - first
    mean_x, mean_y = x[first:last, at].sum() / size, y[first:last, at].sum() / size
    xx, yy, xy = 0.0, 0.0, 0.0
    for row in range(first, last):
        dx, dy = x[row, at] - mean_x, y[row, at] - mean_y
        xx, yy, xy = xx + dx * dx, yy + dy * dy, xy + dx * dy
    return xx, yy, xy


@compiled
def correlation(x: Array, y: Array, width: int, lag: int, begin: int = 0) -> Array:
    """Pearson's correlation over `width` rows that end `lag` rows ago; NaN where one does not vary."""
    out = np.full(x.shape, np.nan)
    for at in range(x.shape[1]):
        for row in range(max(width + lag - 1, begin), x.shape[0]):
            last = row + 1 - lag
            xx, yy, xy = moments(x, y, last - width, last, at)
            if xx > 0.0 and yy > 0.0:
                out[row, at] = min(max(xy / np.sqrt(xx * yy), -1.0), 1.0)
    return out


@compiled
def slope(x: Array, y: Array, width: int, lag: int, begin: int = 0) -> Array:
    """Least-squares slope of y on x over `width` rows that end `lag` rows ago; NaN where x does not vary."""
    out = np.full(x.shape, np.nan)
    for at in range(x.shape[1]):
        for row in range(max(width + lag - 1, begin), x.shape[0]):
            last = row + 1 - lag
            xx, _, xy = moments(x, y, last - width, last, at)
            if xx > 0.0:
                out[row, at] = xy / xx
    return out


@compiled
def total(values: Array, width: int, lag: int, begin: int = 0) -> Array:
    """Sum over `width` rows that end `lag` rows ago."""
    out = np.full(values.shape, np.nan)
    for at in range(values.shape[1]):
        for row in range(max(width + lag - 1, begin), values.shape[0]):
            out[row, at] = values[row + 1 - lag - width : row + 1 - lag, at].sum()
    return out


def shifted(values: Array, rows: int) -> Array:
    """Each row's value of `rows` rows before; NaN for the first."""
    out = np.full(values.shape, np.nan)
    out[rows:] = values[:-rows]
    return out
