"""The cointegrated partner of a symbol and how far their spread stands from its mean."""

import numpy as np
import numpy.typing as npt

from tapewatch.market.arrays import Array
from tapewatch.market.compiled import njit

#: Minutes of the window, minutes between two choices of candidates, and candidates a symbol.
WINDOW, RECHOOSE, CANDIDATES = 120, 30, 8

compiled = njit(cache=True, nogil=True, error_model="numpy")


@compiled
def engle_granger(y: Array, x: Array) -> tuple[float, float]:
    """Dickey-Fuller statistic of the residuals of y on x and a constant, and the last residual over their deviation.

    Engle and Granger (1987) without lagged differences; the lower the statistic, the surer the cointegration (about -3.4 at
    5 %). NaN where x does not vary or the residuals vanish.
    """
    mean_x, mean_y = x.mean(), y.mean()
    dx, dy = x - mean_x, y - mean_y
    xx = (dx * dx).sum()
    if not xx > 0.0:
        return np.nan, np.nan
    residual = dy - (dx * dy).sum() / xx * dx
    size = residual.size - 1
    lagged, change = residual[:-1], np.diff(residual)
    square = (lagged * lagged).sum()
    # What is left of a perfect fit is rounding.
    if not square > 1e-20 * (dy * dy).sum():
        return np.nan, np.nan
    decay = (lagged * change).sum() / square
    error = change - decay * lagged
    deviation = np.sqrt((error * error).sum() / (size - 1) / square)
    return decay / deviation, residual[-1] / np.sqrt((residual * residual).sum() / residual.size)


@compiled
def spreads(
    prices: Array, partners: npt.NDArray[np.int64], begin: int = 0
) -> tuple[npt.NDArray[np.int64], Array, Array]:
    """Of each minute and symbol the partner with the lowest statistic, that statistic, and the spread's score.

    Args:
        prices: log prices, minutes x symbols.
        partners: candidates, choices x symbols x CANDIDATES; -1 for none. The n-th choice holds for the n-th RECHOOSE minutes.
        begin: the first row that is computed.
    """
    count, symbols = prices.shape
    chosen = np.full((count, symbols), -1, np.int64)
    statistic, score = np.full((count, symbols), np.nan), np.full((count, symbols), np.nan)
    for at in range(symbols):
        for row in range(max(WINDOW - 1, begin), count):
            for other in partners[row // RECHOOSE, at]:
                if other < 0:
                    break
                window = slice(row + 1 - WINDOW, row + 1)
                found, deviation = engle_granger(prices[window, at], prices[window, other])
                if not np.isnan(found) and not found >= statistic[row, at]:
                    chosen[row, at], statistic[row, at], score[row, at] = other, found, deviation
    return chosen, statistic, score


def candidates(returns: Array, begin: int = 0) -> npt.NDArray[np.int64]:
    """The symbols whose returns correlate most with each symbol's in the 120 minutes before each choice.

    A symbol without all of these returns, or without variation in them, has no candidates and is none. Choices that hold for
    rows before `begin` alone are left out.

    Returns: choices x symbols x CANDIDATES, -1 where there are fewer.
    """
    choices, symbols = -(-returns.shape[0] // RECHOOSE), returns.shape[1]
    out = np.full((choices, symbols, CANDIDATES), -1, np.int64)
    for choice in range(begin // RECHOOSE, choices):
        last = choice * RECHOOSE
        if last < WINDOW:
            continue
        window = returns[last - WINDOW : last]
        usable = np.flatnonzero(np.isfinite(window).all(axis=0) & (np.nan_to_num(window).std(axis=0) > 0))
        if usable.size < 2:
            continue
        together = np.abs(np.atleast_2d(np.corrcoef(window[:, usable], rowvar=False)))
        np.fill_diagonal(together, -1.0)
        kept = min(CANDIDATES, usable.size - 1)
        best = np.argsort(-together, axis=1, kind="stable")[:, :kept]
        out[choice, usable, :kept] = usable[best]
    return out
