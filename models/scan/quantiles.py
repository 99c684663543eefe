"""Quantiles of many rows with missing values, at once."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def row_quantiles(rows: Floats, q: float) -> Floats:
    """The `q` quantile (0 to 1) of each row's known values, interpolated; NaN for a row without any.

    NumPy's own goes row by row in Python where values are missing.
    """
    ordered = np.sort(rows, axis=1)
    known = np.isfinite(ordered).sum(axis=1)
    at = np.maximum(known - 1, 0) * q
    low = np.floor(at).astype(np.int64)
    high = np.minimum(low + 1, np.maximum(known - 1, 0))
    each = np.arange(len(rows))
    between = ordered[each, low] + (at - low) * (ordered[each, high] - ordered[each, low])
    return np.where(known > 0, between, np.nan)


def around(days: Floats, reach: int, step: int = 1) -> Floats:
    """The values near the middle of every `step` columns, over all rows (columns / step x values), NaN beyond the edges.

    Near means within `reach` columns.
    """
    padded = np.pad(days, ((0, 0), (reach, reach)), constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=1)[:, step // 2 :: step]
    return np.ascontiguousarray(windows.transpose(1, 0, 2)).reshape(windows.shape[1], -1)
