"""Robust scales, and estimates from few observations drawn towards those of many."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

#: The quantiles that a scale needs, ascending.
SCALE_QUANTILES = (0.05, 0.25, 0.75, 0.95)
_NORMAL_IQR, _NORMAL_90 = 1.349, 3.29


def scale_of(lowest: Floats, lower: Floats, upper: Floats, highest: Floats) -> Floats:
    """The interquartile range, or half of the 5-95 % range if that is wider, as a normal standard deviation.

    Args:
        lowest, lower, upper, highest: the `SCALE_QUANTILES`, of any shape; NaN where there are none.
    """
    return np.maximum((upper - lower) / _NORMAL_IQR, (highest - lowest) / (2 * _NORMAL_90))


def shrunk(own: Floats, parent: Floats, count: Floats, prior: float) -> Floats:
    """n/(n + prior) of `own` and the rest of `parent`, where `own` has n observations; `parent` where `own` is NaN."""
    weight = count / (count + prior)
    return np.where(np.isnan(own), parent, weight * np.nan_to_num(own) + (1 - weight) * parent)


def quantile(values: Floats, share: float) -> Floats:
    """The quantile of the numbers along the first axis, by linear interpolation; NaN where there is none."""
    ordered = np.sort(values, axis=0)
    count = np.isfinite(values).sum(axis=0)
    place = share * np.maximum(count - 1, 0)
    below = np.floor(place).astype(np.int64)
    above = np.minimum(below + 1, np.maximum(count - 1, 0))
    low, high = (np.take_along_axis(ordered, at[None], axis=0)[0] for at in (below, above))
    return np.where(count > 0, low + (high - low) * (place - below), np.nan)
