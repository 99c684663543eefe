"""How far the last values are from all windows of values that are remembered."""

import numpy as np

from models.single.layout import LONG, RING, SHORT, WINDOWS
from tapewatch.market.arrays import Array
from tapewatch.market.compiled import njit

compiled = njit(cache=True, nogil=True, error_model="numpy")
_summing = njit(cache=True, nogil=True, error_model="numpy", fastmath=True)

#: The share of windows that join the memory.
_JOINING = 0.3
_FARTHEST = 30.0


@compiled
def short_window(ring: Array, row: int, mean: float, scale: float, out: Array) -> None:
    """The last SHORT values, from the mean in units of the scale."""
    start = row % RING + RING - SHORT + 1
    for k in range(SHORT):
        out[k] = min(max((ring[start + k] - mean) / scale, -_FARTHEST), _FARTHEST)


@compiled
def long_window(ring: Array, row: int, rows: int, scale: float, out: Array) -> None:
    """The last `rows` values as LONG means, with mean 0 and about unit deviation; a flat window stays flat."""
    start = row % RING + RING - rows + 1
    # Centred before it is rounded to the windows' single precision.
    means = np.empty(LONG)
    for k in range(LONG):
        first = k * rows // LONG
        last = max((k + 1) * rows // LONG, first + 1)
        total = 0.0
        for at in range(first, last):
            total += ring[start + at]
        means[k] = total / (last - first)
    mean, deviation = means.mean(), means.std()
    for k in range(LONG):
        out[k] = (means[k] - mean) / (deviation + 0.2 * scale)


@_summing
def _nearest(window: Array, windows: Array, count: int) -> tuple[float, int]:
    nearest, where = np.float32(1e30), 0
    for k in range(count):
        total = np.float32(0.0)
        for at in range(window.shape[0]):
            total += (window[at] - windows[k, at]) ** 2
        if total < nearest:
            nearest, where = total, k
    return np.sqrt(float(nearest) / window.shape[0]), where


@compiled
def novelty(window: Array, windows: Array, met: Array, numbers: Array, count_at: int, limit_at: int, row: int) -> float:
    """The root-mean-square distance to the nearest remembered window.

    That window then moves a little towards this one. A window farther than the limit joins the memory instead, in place of
    the one not met for longest; the limit is such that three in ten join. -1 for the first.
    """
    count = int(numbers[count_at])
    if count == 0:
        windows[0] = window
        met[0] = row
        numbers[count_at] = 1.0
        return -1.0
    distance, where = _nearest(window, windows, count)
    if numbers[limit_at] == 0.0:
        numbers[limit_at] = distance
    joins = distance > numbers[limit_at]
    numbers[limit_at] *= np.exp(max(0.05, 1.0 / (count + 1.0)) * ((1.0 if joins else 0.0) - _JOINING))
    if joins:
        where = count if count < WINDOWS else int(np.argmin(met))
        numbers[count_at] = min(count + 1, WINDOWS)
        windows[where] = window
    else:
        windows[where] += np.float32(0.1) * (window - windows[where])
    met[where] = row
    return distance
