"""From statistics to surprise: how rarely the peaks of ordinary days are as high.

Surprise is -log10 of the number of peaks as high that a symbol has in 390 ordinary minutes. Single minutes would not do: the
minutes of one event are alike, so a tail of minutes says little of how often events occur.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.scan.quantiles import around, row_quantiles
from models.scan.tail import RATES, Tail
from tapewatch.market.compiled import njit

Floats = npt.NDArray[np.float64]

BINS_A_DAY = 390 * 12
#: Peaks closer than this many bins are one.
APART = 120
#: Most that a tail may fall off more slowly than the peaks before it.
_STEEPEST = 1.5


def fit_tail(series: list[Floats], *, a_day: int = BINS_A_DAY, apart: int = APART) -> Tail:
    """The tail of the peaks of several series, one for each symbol and day; NaN is not judged.

    Args:
        series: values in order of time.
        a_day: values in 390 minutes.
        apart: peaks closer than this many values are one.
    """
    known = sum(int(np.isfinite(each).sum()) for each in series)
    heights = np.sort(np.concatenate([peaks(each, apart) for each in series]) if series else np.empty(0))[::-1]
    days = known / a_day
    if heights.size < 1 or days <= 0:
        return Tail(np.linspace(0.0, 1.0, len(RATES)) + 1e9, 1.0)
    ranks = [min(heights.size - 1, max(0, round(rate * days) - 1)) for rate in RATES]
    knots = np.maximum.accumulate(heights[ranks] + 1e-9 * np.arange(len(ranks)))
    above = heights[heights > knots[-1]]
    # A few unlabelled anomalies among the peaks must not set the tail: hence the median, and the slope of the common peaks.
    excess = float(np.median(above - knots[-1]) / np.log(2.0)) if above.size else 0.0
    slope = float(knots[-1] - knots[0]) / np.log(RATES[0] / RATES[-1])
    return Tail(knots, max(min(excess, _STEEPEST * slope), 0.05 * max(abs(float(knots[-1])), 1e-6)))


@njit(cache=True, nogil=True)
def peaks(values: Floats, apart: int = APART) -> Floats:
    """The heights of a series' peaks: the greatest value, then the greatest more than `apart` values from those taken."""
    order = np.argsort(-np.where(np.isnan(values), -np.inf, values), kind="mergesort")
    free = np.ones(values.size, dtype=np.bool_)
    taken = np.empty(values.size)
    count = 0
    for at in order:
        if np.isnan(values[at]):
            break
        if free[at]:
            taken[count] = values[at]
            count += 1
            free[max(0, at - apart) : at + apart + 1] = False
    return taken[:count]


@dataclass(frozen=True)
class Scale:
    """Median and spread of a statistic of each symbol, and by how much it varies with the time of day."""

    median: Floats
    width: Floats
    time_of_day: Floats

    def deviation(self, values: Floats, first: int = 0) -> Floats:
        """Deviations of `values` (symbols x bins, from bin `first` of a day), in units of the symbol's 99th percentile."""
        minutes = np.minimum((first + np.arange(values.shape[1])) // 12, self.time_of_day.size - 1)
        return np.asarray((values - self.median[:, None]) / self.width[:, None] / self.time_of_day[minutes])


def fit_scale(days: list[Floats]) -> Scale:
    """The scale of one statistic, from values (symbols x bins) of whole days."""
    stacked = np.concatenate(days, axis=1)
    has_any = np.isfinite(stacked).any(axis=1)
    median, top = np.zeros(len(stacked)), np.ones(len(stacked))
    if has_any.any():
        median[has_any] = row_quantiles(stacked[has_any], 0.5)
        top[has_any] = row_quantiles(stacked[has_any], 0.99)
    centred = stacked[has_any] - median[has_any, None]
    pooled = float(row_quantiles(centred.reshape(1, -1), 0.99)[0]) if centred.size else 1.0
    width = np.maximum(top - median, max(0.05 * pooled, 1e-6))
    width[~has_any] = max(pooled, 1e-6)
    minutes = max(day.shape[1] for day in days) // 12
    return Scale(median, width, _time_of_day([(day - median[:, None]) / width[:, None] for day in days], minutes))


def _time_of_day(days: list[Floats], minutes: int) -> Floats:
    """The 98th percentile within ten minutes of each minute over that of the day, between 1 and 6; in steps of five minutes."""
    whole = np.concatenate([_padded(day, 12 * minutes) for day in days])
    overall = float(row_quantiles(whole.reshape(1, -1), 0.98)[0])
    near = row_quantiles(around(whole, 150, step=60), 0.98)
    if not overall > 0:
        return np.ones(minutes)
    factors = np.clip(np.where(np.isnan(near), 1.0, near / overall), 1.0, 6.0)
    return np.asarray(np.repeat(factors, 5)[:minutes])


def _padded(day: Floats, bins: int) -> Floats:
    padded: Floats = np.pad(day[:, :bins], ((0, 0), (0, max(0, bins - day.shape[1]))), constant_values=np.nan)
    return padded
