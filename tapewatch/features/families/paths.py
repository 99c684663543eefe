"""Measures of the last price's path over trailing minutes: weighted volatility, variance ratio, fall and recovery."""

import numpy as np
import numpy.typing as npt

from tapewatch.market.arrays import Array
from tapewatch.market.compiled import njit

#: RiskMetrics' decay, and the number of returns that hold 99 % of its weight (Technical Document, 1996, table 5.7).
EWMA_DECAY, EWMA_RETURNS = 0.94, 74
#: Returns of the variance ratio, and how many of them make a long return.
VARIANCE_RETURNS, LONG_RETURN = 60, 5
DRAWDOWN_RETURNS = 30
_ENOUGH = 10
_BASIS_POINTS = 1e4
_ROUNDING = 1e-12


def path_measures(minute: Array, segment: Array, price: Array) -> dict[str, npt.NDArray[np.float64]]:
    """Four columns of `VOLATILITY` from the last price in force at each minute's end; a silent minute's return is 0.

    - `ewma_volatility_bps`: root of the weighted mean of the last 74 squared log returns, weights 0.94 to the power of their
      age (RiskMetrics 1996); NaN below 10 known returns.
    - `variance_ratio_5m`: Lo and MacKinlay (1988): overlapping and without bias, over 60 returns;
      NaN until there are 60, and where they are all equal.
    - `drawdown_score`: the largest fall of the log price from a high to a later low over 30 returns, over the root of their
      summed squares; `recovery_score`: the rise since that low. NaN until there are 30, and where the price is constant.

    Windows lie within a part of the day. A price of zero or below has no return, and leaves ratio and scores of windows that
    hold it undefined.

    Args:
        minute: int64, each row's minute; ascends within a segment.
        segment: int64, ascends.
        price: last price in force at the minute's end, NaN before the first.
    """
    logs = np.log(np.where(price > 0, price, np.nan))
    out = np.full((4, price.size), np.nan)
    _measure(minute, segment, logs, out)
    names = ("ewma_volatility_bps", "variance_ratio_5m", "drawdown_score", "recovery_score")
    return dict(zip(names, out, strict=True))


@njit(cache=True, nogil=True, error_model="numpy")
def _measure(minute: Array, segment: Array, logs: Array, out: Array) -> None:
    path = np.empty(max(EWMA_RETURNS, VARIANCE_RETURNS, DRAWDOWN_RETURNS) + 1)
    first = 0
    for row in range(minute.size):
        if segment[row] != segment[first]:
            first = row
        _lay_out(minute, logs, first, row, path)
        out[0, row] = _weighted_volatility(path[-EWMA_RETURNS - 1 :])
        out[1, row] = _variance_ratio(path[-VARIANCE_RETURNS - 1 :])
        out[2, row], out[3, row] = _fall_and_recovery(path[-DRAWDOWN_RETURNS - 1 :])


@njit(cache=True, nogil=True)
def _lay_out(minute: Array, logs: Array, first: int, row: int, path: Array) -> None:
    """Fill `path` with the log prices in force at the ends of the minutes up to the row's; NaN before the part of the day."""
    at, other = path.size - 1, row
    while at >= 0:
        while other >= first and minute[other] > minute[row] - (path.size - 1 - at):
            other -= 1
        path[at] = logs[other] if other >= first else np.nan
        at -= 1


@njit(cache=True, nogil=True, error_model="numpy")
def _weighted_volatility(path: Array) -> float:
    total, weights, weight, known = 0.0, 0.0, 1.0, 0
    for at in range(path.size - 1, 0, -1):
        change = path[at] - path[at - 1]
        if not np.isnan(change):
            total += weight * change * change
            weights += weight
            known += 1
        weight *= EWMA_DECAY
    return _BASIS_POINTS * np.sqrt(total / weights) if known >= _ENOUGH else np.nan


@njit(cache=True, nogil=True, error_model="numpy")
def _variance_ratio(path: Array) -> float:
    count = path.size - 1
    mean = (path[count] - path[0]) / count
    short, squares, long = 0.0, 0.0, 0.0
    for at in range(1, count + 1):
        change = path[at] - path[at - 1]
        short += (change - mean) ** 2
        squares += change**2
    for at in range(LONG_RETURN, count + 1):
        long += (path[at] - path[at - LONG_RETURN] - LONG_RETURN * mean) ** 2
    # A window with a NaN, and one without a move.
    if not short > _ROUNDING * squares:
        return np.nan
    scale = LONG_RETURN * (count - LONG_RETURN + 1) * (1.0 - LONG_RETURN / count)
    return float((long / scale) / (short / (count - 1)))


@njit(cache=True, nogil=True, error_model="numpy")
def _fall_and_recovery(path: Array) -> tuple[float, float]:
    peak, fall, low, squares = path[0], 0.0, path[path.size - 1], 0.0
    for at in range(1, path.size):
        squares += (path[at] - path[at - 1]) ** 2
        peak = max(peak, path[at])
        if peak - path[at] > fall:
            fall, low = peak - path[at], path[at]
    if not squares > 0.0:
        return np.nan, np.nan
    size = np.sqrt(squares)
    return fall / size, (path[path.size - 1] - low) / size
