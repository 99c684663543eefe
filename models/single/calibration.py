"""From statistics to one score: how rarely a statistic, and then the peak of all, is as high in this series."""

import numpy as np

from models.single.layout import (
    BIN,
    BINS,
    BLOCK,
    BLOCK_PEAK,
    BLOCK_ROWS,
    COUNTED,
    EXCESS,
    HELD,
    HIGH,
    LOWEST,
    MEDIAN,
    PARTS,
    SMOOTHED,
)
from tapewatch.market.arrays import Array
from tapewatch.market.compiled import njit

compiled = njit(cache=True, nogil=True, error_model="numpy")

_PARTS = len(PARTS)
#: Rows before the first score.
_WARM = 40
_LEARNT = 10
#: A tail is fitted anew every so many rows, at first at every row.
_REFIT, _REFIT_FROM = 16, 200
#: What the peaks of blocks are like in a series of which nothing is known, and how many blocks that is worth.
_USUAL_HIGH, _USUAL_EXCESS = 14.0, 3.0
_BLOCKS, _PEAKS = 100.0, 20.0
_SHARE = 0.1
_HEIGHT_BIN = 0.75
_HIGHEST = 34.0
#: A row below the height of an event that is still remembered counts for less: the event has been told.
_DAMPED = 0.85
_SHORTEST_HOLD, _LONGEST_HOLD = 20.0, 400.0


@compiled
def _enter(histogram: Array, value: float, lowest: float, width: float) -> None:
    histogram[min(max(int((value - lowest) / width), 0), BINS - 1)] += 1.0


@compiled
def _fit_tail(
    histogram: Array, lowest: float, width: float, tail: Array, share: float, usual: float, weight: float
) -> None:
    """Set the median, the quantile that `share` exceeds, and the mean excess over it, drawn towards `usual`."""
    total = histogram.sum()
    above = 0.0
    k = BINS - 1
    while k > 0 and above + histogram[k] < share * total:
        above += histogram[k]
        k -= 1
    part = (share * total - above) / histogram[k] if histogram[k] > 0.0 else 0.0
    tail[HIGH] = lowest + width * (k + 1.0 - part)
    excess = part * histogram[k] * 0.5 * part * width
    for j in range(k + 1, BINS):
        excess += histogram[j] * (lowest + width * (j + 0.5) - tail[HIGH])
    below = 0.0
    j = 0
    while j < BINS - 1 and below + histogram[j] < 0.5 * total:
        below += histogram[j]
        j += 1
    tail[MEDIAN] = lowest + width * (j + 0.5)
    tail[EXCESS] = (excess + weight * usual) / (share * total + weight)


@compiled
def _surprise_of(log: float, tail: Array) -> float:
    """Minus the logarithm of how often the statistic is as high: a Pareto tail above its 95 % quantile."""
    if log >= tail[HIGH]:
        return float(3.0 + (log - tail[HIGH]) / tail[EXCESS])
    width = max(tail[HIGH] - tail[MEDIAN], BIN)
    return float(max(3.0 - 2.3 * (tail[HIGH] - log) / width, 0.0))


@compiled
def surprise(statistics: Array, histograms: Array, tails: Array, row: int, surprises: Array) -> float:
    """The surprises of all statistics and their Euclidean norm, by the history before this row, which it then joins.

    A statistic below 0 is not known yet, and no surprise.
    """
    refits = row % _REFIT == 0 or row < _REFIT_FROM
    total = 0.0
    for part in range(_PARTS):
        if statistics[part] < 0.0 or row <= _LEARNT:
            continue
        tail = tails[part]
        log = np.log(max(statistics[part], 1e-3))
        surprises[part] = _surprise_of(log, tail) if tail[COUNTED] >= _WARM - _LEARNT else 0.0
        total += surprises[part] ** 2
        _enter(histograms[part], log, LOWEST, BIN)
        tail[COUNTED] += 1.0
        if refits:
            _fit_tail(histograms[part], LOWEST, BIN, tail, 0.05, 0.3, 2.0)
    return float(np.sqrt(total))


@compiled
def _rate(height: float, tail: Array) -> float:
    """Minus the logarithm of the share of blocks with a peak as high."""
    if height >= tail[HIGH]:
        return float(min(-np.log(_SHARE) + (height - tail[HIGH]) / tail[EXCESS], _HIGHEST))
    return float(-np.log(_SHARE) * height / tail[HIGH])


@compiled
def score_of(numbers: Array, surprise: float, histogram: Array, tail: Array, row: int) -> float:
    """One minus the share of blocks of BLOCK rows in which a row is as high, by the blocks before this one."""
    if tail[HIGH] == 0.0:
        tail[HIGH], tail[EXCESS] = _USUAL_HIGH, _USUAL_EXCESS
    numbers[SMOOTHED] += (surprise - numbers[SMOOTHED]) / 5.0
    height = surprise + numbers[SMOOTHED]
    hold = min(max(_SHORTEST_HOLD, 0.1 * row), _LONGEST_HOLD)
    numbers[HELD] *= np.exp(-1.0 / hold)
    if height <= numbers[HELD]:
        height *= _DAMPED
    else:
        numbers[HELD] = height
    if row <= _WARM:
        return 0.0
    score = -np.expm1(-_rate(height, tail))
    numbers[BLOCK_PEAK] = max(numbers[BLOCK_PEAK], height)
    numbers[BLOCK_ROWS] += 1.0
    if numbers[BLOCK_ROWS] == BLOCK:
        _enter(histogram, numbers[BLOCK_PEAK], 0.0, _HEIGHT_BIN)
        numbers[BLOCK_PEAK] = numbers[BLOCK_ROWS] = 0.0
        _fit_tail(histogram, 0.0, _HEIGHT_BIN, tail, _SHARE, _USUAL_EXCESS, _PEAKS)
        blocks = histogram.sum()
        tail[HIGH] = (_BLOCKS * _USUAL_HIGH + blocks * tail[HIGH]) / (_BLOCKS + blocks)
    return float(score)
