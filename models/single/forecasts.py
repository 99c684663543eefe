"""Six forecasts of the next value, and how wrong each usually is."""

import numpy as np

from models.single.layout import (
    BEST_CORRELATION,
    BEST_LAG,
    DAY,
    DAY_LEVEL,
    DAY_SLOTS,
    FAST,
    FAST_MEAN,
    INTERVAL,
    IS_PAST_TROUGH,
    LAG,
    LAST,
    LAST_VALUE,
    LONG_COUNT,
    LONGEST,
    PERIOD,
    PERIOD_ROWS,
    RING,
    SLOW,
    SLOW_MEAN,
    SPREAD,
    TIME,
    WEEK,
    WEEK_LEVEL,
    WEEK_SLOTS,
)
from tapewatch.market.arrays import Array
from tapewatch.market.compiled import njit

compiled = njit(cache=True, nogil=True, error_model="numpy")
#: Sums over finite values, in whatever order is fastest.
_summing = njit(cache=True, nogil=True, error_model="numpy", fastmath=True)

_DAY_S = 86_400.0
_HOUR_S = 3_600.0
#: Rows at these intervals have a time of day.
_SHORTEST_S, _LONGEST_S = 5.0, 7_200.0
#: An outlier counts as at most this many usual errors.
_CAP = 5.0
_FEWEST_ROWS = 20
_CORRELATED_ROWS = 1024
_LEAST_CORRELATION = 0.35


@compiled
def learn_interval(numbers: Array, time: float) -> None:
    """Learn the time between rows; a repeated or earlier time says nothing of it."""
    passed = time - numbers[TIME]
    if passed > 0.0:
        if numbers[INTERVAL] == 0.0:
            numbers[INTERVAL] = passed
        # A gap counts as at most twice the interval.
        numbers[INTERVAL] *= np.exp(0.1 * min(max(np.log(passed / numbers[INTERVAL]), -0.7), 0.7))
        numbers[TIME] = time


@compiled
def slots_of(numbers: Array, time: float) -> tuple[int, int]:
    """The slot of the day and the hour of the week; -1 where the rows are too close or too far apart to have them."""
    if not _SHORTEST_S <= numbers[INTERVAL] <= _LONGEST_S:
        return -1, -1
    slots = min(DAY_SLOTS, max(int(_DAY_S / numbers[INTERVAL] + 0.5), 1))
    day_slot = int((time % _DAY_S) / _DAY_S * slots)
    week_slot = int((time % (7.0 * _DAY_S)) / _HOUR_S)
    return min(day_slot, DAY_SLOTS - 1), min(week_slot, WEEK_SLOTS - 1)


@compiled
def forecast(
    numbers: Array, ring: Array, row: int, day: Array, week: Array, day_slot: int, week_slot: int, out: Array
) -> None:
    """Fill `out`; NaN where a forecast has nothing to stand on yet."""
    out[:] = np.nan
    out[LAST] = numbers[LAST_VALUE]
    out[FAST] = numbers[FAST_MEAN]
    out[SLOW] = numbers[SLOW_MEAN]
    if day_slot >= 0 and day[day_slot, 1] >= 1.0:
        out[DAY] = day[day_slot, 0] + numbers[DAY_LEVEL]
        if week[week_slot, 1] >= 1.0:
            out[WEEK] = day[day_slot, 0] + week[week_slot, 0] + numbers[WEEK_LEVEL]
    period = int(numbers[PERIOD_ROWS])
    if period > 0 and row > 2 * period:
        at = row % RING + RING
        out[PERIOD] = 0.5 * (ring[at - period] + ring[at - 2 * period])


@compiled
def learn_errors(value: float, forecasts: Array, errors: Array, floor: float, row: int) -> None:
    """Learn how wrong each forecast usually is."""
    pace = max(1.0 / (row + 1.0), 0.004)
    for k in range(forecasts.shape[0]):
        if not np.isnan(forecasts[k]):
            error = abs(value - forecasts[k])
            if errors[k] == 0.0:
                errors[k] = error if k < DAY else max(errors[SLOW], error)
            errors[k] += pace * (min(error, _CAP * errors[k] + floor) - errors[k])


@compiled
def learn_levels(numbers: Array, value: float, floor: float, row: int) -> None:
    """Learn the means and the spread; an outlier moves the slow ones little."""
    off = value - numbers[SLOW_MEAN]
    away, limit = abs(off), 4.0 * numbers[SPREAD] + floor
    if row > _FEWEST_ROWS:
        away = min(away, _CAP * numbers[SPREAD] + floor)
        off = min(max(off, -limit), limit)
    numbers[SPREAD] += max(1.0 / (row + 1.0), 0.002) * (away - numbers[SPREAD])
    numbers[FAST_MEAN] += 0.3 * (value - numbers[FAST_MEAN])
    numbers[SLOW_MEAN] += max(1.0 / (row + 1.0), 0.005) * off


@compiled
def learn_day(numbers: Array, value: float, cap: float, day: Array, week: Array, day_slot: int, week_slot: int) -> None:
    """Learn the profile of the day, and what the hour of the week adds to it."""
    if day[day_slot, 1] == 0.0:
        day[day_slot, 0] = value - numbers[DAY_LEVEL]
    error = min(max(value - day[day_slot, 0] - numbers[DAY_LEVEL], -cap), cap)
    day[day_slot, 1] += 1.0
    day[day_slot, 0] += max(1.0 / day[day_slot, 1], 0.15) * error
    numbers[DAY_LEVEL] += 0.003 * error
    error = min(max(value - day[day_slot, 0] - week[week_slot, 0] - numbers[WEEK_LEVEL], -cap), cap)
    week[week_slot, 1] += 1.0
    week[week_slot, 0] += max(1.0 / (week[week_slot, 1] + 4.0), 0.03) * error
    numbers[WEEK_LEVEL] += 0.003 * error


@_summing
def _products(ring: Array, start: int, lag: int, length: int, mean: float, limit: float) -> tuple[float, float]:
    """Sums of the products with the value `lag` rows before, and of the squares, of capped deviations."""
    products, squares = 0.0, 0.0
    for k in range(start, start + length):
        now = min(max(ring[k] - mean, -limit), limit)
        before = min(max(ring[k - lag] - mean, -limit), limit)
        products += now * before
        squares += now * now
    return products, squares


@compiled
def seek_period(numbers: Array, ring: Array, errors: Array, row: int) -> None:
    """Correlate the series with itself at one lag more; the first clear peak of a sweep becomes its period."""
    if row < LONG_ENOUGH:
        return
    lag = int(numbers[LAG])
    if lag < 2 or lag > min(LONGEST, row // 3):
        found = numbers[BEST_LAG] if numbers[BEST_CORRELATION] > _LEAST_CORRELATION else 0.0
        if lag > 2 and abs(found - numbers[PERIOD_ROWS]) > 0.03 * numbers[PERIOD_ROWS]:
            numbers[PERIOD_ROWS] = found
            # Windows of another length say nothing of this one's.
            numbers[LONG_COUNT] = 0.0
            errors[PERIOD] = 0.0
        numbers[LAG] = lag = 2
        numbers[BEST_LAG] = numbers[BEST_CORRELATION] = numbers[IS_PAST_TROUGH] = 0.0
    length = min(min(row, RING - 1) - lag, _CORRELATED_ROWS)
    start = row % RING + RING - length + 1
    products, squares = _products(ring, start, lag, length, numbers[SLOW_MEAN], 4.0 * numbers[SPREAD])
    correlation = products / squares if squares > 0.0 else 0.0
    if correlation < 0.1:
        numbers[IS_PAST_TROUGH] = 1.0
    best = numbers[BEST_CORRELATION]
    # A multiple of the period must be clearly better than the period.
    margin = max(0.5 * (1.0 - best), 0.05) if 0.0 < 1.5 * numbers[BEST_LAG] < lag else 0.0
    if numbers[IS_PAST_TROUGH] == 1.0 and correlation > best + margin:
        numbers[BEST_CORRELATION] = correlation
        numbers[BEST_LAG] = lag
    numbers[LAG] = lag + 1.0


#: Rows before a period is looked for.
LONG_ENOUGH = 32
