"""Trailing series of a symbol, carried as running sums: windows, usual levels, ratios and scales."""

import numpy as np

from models.scan.layout import BINS_A_MINUTE, MASK
from tapewatch.market.arrays import Array
from tapewatch.market.compiled import njit

compiled = njit(cache=True, nogil=True, error_model="numpy")

_MINUTES_BACK = 30
_FEWEST_MINUTES = 5
_SMALLEST = 0.05
#: Changes beyond this many usual ones count as this many.
_WINSOR = 3.5


@compiled
def add(series: Array, ring: int, t: int, value: float) -> None:
    """Extend a running sum; a missing value counts as 0."""
    before = 0.0 if t == 0 else series[ring, (t - 1) & MASK]
    series[ring, t & MASK] = before + (0.0 if np.isnan(value) else value)


@compiled
def total_of(series: Array, ring: int, t: int, width: int) -> float:
    """The sum of the last `width` bins, of all if there are fewer."""
    return float(series[ring, t & MASK] - (series[ring, (t - width) & MASK] if t >= width else 0.0))


@compiled
def level_of(series: Array, ring: int, t: int, width: int, profile: float) -> float:
    """The usual sum of a minute: the median of 30 minutes that end a minute before the window, blended with the profile.

    NaN where the profile is NaN (the symbol has no such series), or is negative (unknown) and minutes are too few.
    """
    minutes = np.empty(_MINUTES_BACK)
    count = 0
    end = t - width - BINS_A_MINUTE
    while count < _MINUTES_BACK and end >= BINS_A_MINUTE - 1:
        minutes[count] = total_of(series, ring, end, BINS_A_MINUTE)
        count += 1
        end -= BINS_A_MINUTE
    if np.isnan(profile):
        return np.nan
    if count < _FEWEST_MINUTES:
        return profile if profile >= 0.0 else np.nan
    trailing = np.median(minutes[:count])
    if profile < 0.0:
        return float(trailing)
    share = count / _MINUTES_BACK
    return float(np.exp(share * np.log(trailing + _SMALLEST) + (1.0 - share) * np.log(profile + _SMALLEST)) - _SMALLEST)


@compiled
def ratio_of(series: Array, ring: int, t: int, width: int, profile: float, offset: float) -> float:
    """Log of the window's rate over the usual one."""
    if t + 1 < width:
        return np.nan
    level = level_of(series, ring, t, width, profile)
    rate = BINS_A_MINUTE / width * total_of(series, ring, t, width)
    usual = 1.1 * level + offset
    return float(np.log((rate + 0.1 * level + offset) / usual)) if usual > 0.0 else np.nan


@compiled
def add_square(rings: Array, ring: int, counts: int, of: int, t: int, scale: float) -> None:
    """Extend the running sum of squared one-minute changes, each at most `_WINSOR` times its scale."""
    now, before = t & MASK, (t - 1) & MASK
    total, count = (0.0, 0.0) if t == 0 else (rings[ring, before], rings[counts, before])
    if t >= BINS_A_MINUTE:
        change = rings[of, now] - rings[of, (t - BINS_A_MINUTE) & MASK]
        if not np.isnan(change):
            total += min(abs(change), _WINSOR * scale) ** 2
            count += 1.0
    rings[ring, now], rings[counts, now] = total, count


@compiled
def scale_of(rings: Array, ring: int, counts: int, t: int, prior: float, lag: int, back: int, weight: float) -> float:
    """Root mean square of the changes of `back` bins that end `lag` bins ago and `weight` bins of the usual one."""
    end = t - lag
    total = count = 0.0
    if end >= 0:
        total, count = total_of(rings, ring, end, back), total_of(rings, counts, end, back)
    return float(np.sqrt((max(total, 0.0) + weight * prior * prior) / (count + weight)))
