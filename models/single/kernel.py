"""The compiled step of a watched series from one row to the next."""

import numpy as np

from models.single.calibration import score_of, surprise
from models.single.forecasts import (
    forecast,
    learn_day,
    learn_errors,
    learn_interval,
    learn_levels,
    seek_period,
    slots_of,
)
from models.single.layout import (
    ACTIVITY,
    COUNT,
    DAY,
    DEVIATION,
    ENERGY,
    FAST_MEAN,
    FORECASTS,
    LAST_VALUE,
    LEVEL,
    LONG,
    LONG_COUNT,
    LONG_LEVEL,
    LONG_LIMIT,
    LONG_RUN_LEVEL,
    NOVELTY,
    PARTS,
    PERIOD,
    PERIOD_ROWS,
    QUIET,
    RECENT_CHANGE,
    RECENT_LEVEL,
    RECENT_SURPRISE,
    RING,
    SHAPE,
    SHORT,
    SHORT_COUNT,
    SHORT_LIMIT,
    SLOW,
    SLOW_MEAN,
    SMALLEST_CHANGE,
    SPREAD,
    SURPRISE,
    TIME,
    USUAL_CHANGE,
    WEEK,
    Memory,
)
from models.single.novelty import long_window, novelty, short_window
from tapewatch.market.arrays import Array
from tapewatch.market.compiled import njit

compiled = njit(cache=True, nogil=True, error_model="numpy")

_PARTS, _FORECASTS = len(PARTS), len(FORECASTS)
#: Rows of a window of a series without a period.
_NO_PERIOD = 64
#: Values beyond this overflow when squared; they count as infinite.
_LARGEST = 1e150


@compiled
def watch_series(times: Array, values: Array, memory: Memory, scores: Array, surprises: Array) -> None:
    """Score one row of every series: `scores` (series), `surprises` (series x PARTS)."""
    for series in range(values.shape[0]):
        scores[series] = _step(series, times[series], values[series], memory, surprises[series])


@compiled
def watch_rows(times: Array, values: Array, memory: Memory, scores: Array, surprises: Array) -> None:
    """Score rows of the one series, in their order: `scores` (rows), `surprises` (rows x PARTS)."""
    for row in range(values.shape[0]):
        scores[row] = _step(0, times[row], values[row], memory, surprises[row])


@compiled
def _step(series: int, time: float, value: float, memory: Memory, surprises: Array) -> float:
    """Score a row by what came before, then learn from it; a missing value scores 0 and teaches nothing."""
    numbers, ring = memory.numbers[series], memory.ring[series]
    surprises[:] = 0.0
    if not abs(value) < _LARGEST:
        return 0.0
    row = int(numbers[COUNT])
    numbers[COUNT] += 1.0
    if row == 0:
        numbers[TIME] = time
        numbers[FAST_MEAN] = numbers[SLOW_MEAN] = numbers[LAST_VALUE] = value
        ring[0] = ring[RING] = value
        return 0.0
    statistics = np.full(_PARTS, -1.0)
    floor = 1e-9 * abs(value) + 1e-3 * numbers[SPREAD] + 0.5 * numbers[SMALLEST_CHANGE] + 1e-300
    _residuals(series, time, value, row, floor, memory, statistics)
    _changes(numbers, value - numbers[LAST_VALUE], row, floor, statistics)
    learn_levels(numbers, value, floor, row)
    ring[row % RING] = ring[row % RING + RING] = value
    _novelties(series, row, numbers[SPREAD] + floor, memory, statistics)
    period = numbers[PERIOD_ROWS]
    seek_period(numbers, ring, memory.errors[series], row)
    if numbers[PERIOD_ROWS] != period:
        # Windows of another length have other distances.
        memory.histograms[series, SHAPE] = 0.0
        memory.tails[series, SHAPE] = 0.0
    numbers[LAST_VALUE] = value
    total = surprise(statistics, memory.histograms[series], memory.tails[series], row, surprises)
    return score_of(numbers, total, memory.histograms[series, _PARTS], memory.tails[series, _PARTS], row)


@compiled
def _residuals(
    series: int, time: float, value: float, row: int, floor: float, memory: Memory, statistics: Array
) -> None:
    """The statistics of what the forecasts missed."""
    numbers, errors = memory.numbers[series], memory.errors[series]
    day, week = memory.day[series], memory.week[series]
    learn_interval(numbers, time)
    day_slot, week_slot = slots_of(numbers, time)
    forecasts = np.empty(_FORECASTS)
    forecast(numbers, memory.ring[series], row, day, week, day_slot, week_slot, forecasts)
    # An error of 0 is one not measured yet.
    best = 0
    for k in range(_FORECASTS):
        if not np.isnan(forecasts[k]) and 0.0 < errors[k] < errors[best]:
            best = k
    # A deviation is from what does not follow the last values.
    base = SLOW
    for k in (DAY, WEEK, PERIOD):
        if not np.isnan(forecasts[k]) and 0.0 < errors[k] < errors[base]:
            base = k
    deviation = (value - forecasts[base]) / (errors[base] + floor)
    statistics[SURPRISE] = abs(value - forecasts[best]) / (errors[best] + floor)
    statistics[DEVIATION] = abs(deviation)
    numbers[RECENT_SURPRISE] += (min(statistics[SURPRISE], 8.0) - numbers[RECENT_SURPRISE]) / 20.0
    statistics[ENERGY] = numbers[RECENT_SURPRISE]
    capped = min(max(deviation, -6.0), 6.0)
    numbers[RECENT_LEVEL] += (capped - numbers[RECENT_LEVEL]) / 8.0
    numbers[LONG_RUN_LEVEL] += (capped - numbers[LONG_RUN_LEVEL]) / 48.0
    statistics[LEVEL] = abs(numbers[RECENT_LEVEL])
    statistics[LONG_LEVEL] = abs(numbers[LONG_RUN_LEVEL])
    learn_errors(value, forecasts, errors, floor, row)
    if day_slot >= 0:
        learn_day(numbers, value, 6.0 * errors[DAY] + floor, day, week, day_slot, week_slot)


@compiled
def _changes(numbers: Array, change: float, row: int, floor: float, statistics: Array) -> None:
    """The statistics of how much the series moves from row to row."""
    size = abs(change)
    usual = numbers[USUAL_CHANGE] + floor
    numbers[RECENT_CHANGE] += (min(size, 8.0 * usual) - numbers[RECENT_CHANGE]) / 12.0
    ratio = max((numbers[RECENT_CHANGE] + 0.05 * usual) / usual, 1e-3)
    statistics[ACTIVITY] = ratio
    statistics[QUIET] = 1.0 / ratio
    if size > 0.0:
        smallest = numbers[SMALLEST_CHANGE]
        numbers[SMALLEST_CHANGE] = size if smallest == 0.0 else min(1.01 * smallest, size)
    capped = min(size, 6.0 * numbers[USUAL_CHANGE] + floor) if row > 20 else size
    numbers[USUAL_CHANGE] += max(1.0 / (row + 1.0), 0.003) * (capped - numbers[USUAL_CHANGE])


@compiled
def _novelties(series: int, row: int, scale: float, memory: Memory, statistics: Array) -> None:
    """The statistics of how unlike the last values are to any remembered."""
    numbers, ring = memory.numbers[series], memory.ring[series]
    if row >= SHORT:
        window = np.empty(SHORT, dtype=np.float32)
        short_window(ring, row, numbers[SLOW_MEAN], scale, window)
        windows, met = memory.short[series], memory.met[series, 0]
        statistics[NOVELTY] = novelty(window, windows, met, numbers, SHORT_COUNT, SHORT_LIMIT, row)
    rows = int(numbers[PERIOD_ROWS]) if numbers[PERIOD_ROWS] > 0.0 else _NO_PERIOD
    rows = max(rows, LONG // 2)
    if row >= rows:
        window = np.empty(LONG, dtype=np.float32)
        long_window(ring, row, rows, scale, window)
        windows, met = memory.long[series], memory.met[series, 1]
        statistics[SHAPE] = novelty(window, windows, met, numbers, LONG_COUNT, LONG_LIMIT, row)
