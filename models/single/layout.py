"""What a watched series remembers: a fixed number of values, whatever its length."""

from typing import Final, NamedTuple

import numpy as np

from tapewatch.market.arrays import Array

#: The last values, each kept twice, so that any window of them is contiguous.
RING: Final = 2048
#: The longest period that is looked for, in rows.
LONGEST: Final = 768
#: Slots of a day and of a week.
DAY_SLOTS: Final = 288
WEEK_SLOTS: Final = 168
#: Windows that are remembered, and the values in a short one and in one of a whole period.
WINDOWS: Final = 96
SHORT: Final = 8
LONG: Final = 32
#: Rows of a block; the score counts in how many blocks a row scores as high.
BLOCK: Final = 32

#: The statistics, each calibrated by its own history.
PARTS: Final = (
    "surprise",
    "deviation",
    "level",
    "long level",
    "activity",
    "quiet",
    "novelty",
    "shape",
    "energy",
)
SURPRISE, DEVIATION, LEVEL, LONG_LEVEL, ACTIVITY, QUIET, NOVELTY, SHAPE, ENERGY = range(len(PARTS))

#: Forecasts of the next value, which compete.
FORECASTS: Final = ("last value", "fast mean", "slow mean", "day", "day and week", "period")
LAST, FAST, SLOW, DAY, WEEK, PERIOD = range(len(FORECASTS))

#: A statistic's histogram, over its natural logarithm.
BINS: Final = 128
LOWEST: Final = -7.0
BIN: Final = 0.15
#: A statistic's tail, of its logarithm: the median, a high quantile, the mean excess over that, and how many were counted.
MEDIAN, HIGH, EXCESS, COUNTED = range(4)

#: Single numbers of a series.
_NUMBERS: Final = (
    "count",
    "time",
    "interval",
    "last_value",
    "fast_mean",
    "slow_mean",
    "spread",
    "smallest_change",
    "recent_change",
    "usual_change",
    "day_level",
    "week_level",
    "recent_level",
    "long_level",
    "recent_surprise",
    "period",
    "lag",
    "best_lag",
    "best_correlation",
    "is_past_trough",
    "short_count",
    "long_count",
    "short_limit",
    "long_limit",
    "smoothed",
    "held",
    "block_peak",
    "block_rows",
)
(
    COUNT,
    TIME,
    INTERVAL,
    LAST_VALUE,
    FAST_MEAN,
    SLOW_MEAN,
    SPREAD,
    SMALLEST_CHANGE,
    RECENT_CHANGE,
    USUAL_CHANGE,
    DAY_LEVEL,
    WEEK_LEVEL,
    RECENT_LEVEL,
    LONG_RUN_LEVEL,
    RECENT_SURPRISE,
    PERIOD_ROWS,
    LAG,
    BEST_LAG,
    BEST_CORRELATION,
    IS_PAST_TROUGH,
    SHORT_COUNT,
    LONG_COUNT,
    SHORT_LIMIT,
    LONG_LIMIT,
    SMOOTHED,
    HELD,
    BLOCK_PEAK,
    BLOCK_ROWS,
) = range(len(_NUMBERS))


class Memory(NamedTuple):
    """Arrays of all watched series; the first axis is the series."""

    #: series x single numbers
    numbers: Array
    #: series x 2 RING
    ring: Array
    #: series x forecasts: the usual absolute error of each
    errors: Array
    #: series x slots x (mean, count)
    day: Array
    week: Array
    #: series x (statistics and, last, the peaks of blocks) x bins
    histograms: Array
    #: the same x (median, high quantile, mean excess, count)
    tails: Array
    #: series x windows x values, in single precision: a distance needs no more, and takes half the time
    short: Array
    long: Array
    #: series x (short, long) x windows: the row at which each was last met
    met: Array


def fresh(series: int) -> Memory:
    """The memory before the first row."""
    calibrated = len(PARTS) + 1
    return Memory(
        numbers=np.zeros((series, len(_NUMBERS))),
        ring=np.zeros((series, 2 * RING)),
        errors=np.zeros((series, len(FORECASTS))),
        day=np.zeros((series, DAY_SLOTS, 2)),
        week=np.zeros((series, WEEK_SLOTS, 2)),
        histograms=np.zeros((series, calibrated, BINS)),
        tails=np.zeros((series, calibrated, 4)),
        short=np.zeros((series, WINDOWS, SHORT), dtype=np.float32),
        long=np.zeros((series, WINDOWS, LONG), dtype=np.float32),
        met=np.zeros((series, 2, WINDOWS)),
    )
