"""What the families share: how long a symbol's part of the day has run, and the price in force before a minute."""

import numpy as np
import numpy.typing as npt

from tapewatch.features.sums import MinuteSums, ratio
from tapewatch.market.arrays import Array


def elapsed_minutes(minute: Array, segment: Array) -> npt.NDArray[np.int64]:
    """Minutes from the first row of each row's segment to the end of the row's own minute."""
    if not minute.size:
        return minute
    is_first = np.diff(segment, prepend=segment[0] - 1) != 0
    start = minute[is_first][np.cumsum(is_first) - 1]
    elapsed: npt.NDArray[np.int64] = minute - start + 1
    return elapsed


def is_complete(sums: MinuteSums, width: int) -> npt.NDArray[np.bool_]:
    """Whether the window of `width` minutes that ends with each row lies within the symbol's part of the day."""
    full: npt.NDArray[np.bool_] = elapsed_minutes(sums.minute, sums.segment) >= width
    return full


def price_before(sums: MinuteSums) -> npt.NDArray[np.float64]:
    """The last price in force before each minute; NaN in the first minute of each part of the day."""
    is_same = np.diff(sums.segment, prepend=-1) == 0
    return np.where(is_same, np.roll(sums["last_price"], 1), np.nan)


def log_returns_bps(sums: MinuteSums) -> npt.NDArray[np.float64]:
    """Log return of each minute in bps within its part of the day; NaN where either price is unknown or not above zero."""
    before, last = price_before(sums), sums["last_price"]
    quotients: npt.NDArray[np.float64] = np.log(ratio(last, before, where=last > 0)) * 1e4
    return quotients
