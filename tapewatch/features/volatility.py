"""Returns, ranges and volatility, from minute sums."""

import numpy as np
import numpy.typing as npt

from tapewatch.features import windows
from tapewatch.features.sums import MinuteSums, ratio

_BASIS_POINTS = 1e4


def returns_bps(sums: MinuteSums) -> npt.NDArray[np.float64]:
    """Log return of each minute's last price against the one in force before it, in bps.

    NaN before a second price, and where either is not above zero.
    """
    return _log_bps(sums["last_price"], _price_before(sums))


def volatility(sums: MinuteSums, minute_returns: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[np.float64]]:
    """Range, realised volatility and returns against the usual, by column of `MICROSTRUCTURE`; NaN where undefined.

    A price of zero or below has no logarithm: on a minute's grid it leaves the whole minute's realised volatility undefined,
    and an undefined return leaves `trailing_return_bps` undefined while it lies in the window.

    - `realised_volatility_bps`: root of the summed squared log returns of the last trade price on a grid of 5 seconds
      (Andersen and Bollerslev 1998), the first return from the price in force when the minute began.
    - `trailing_return_bps`: the minute returns added up over the window, the minute's own included.
    - `drawdown_bps`: log of the window's high over the last price.
    - `return_score`, `volatility_ratio`: against the root mean square of the window before.

    Args:
        sums: the minutes.
        minute_returns: the result of `returns_bps`.
    """
    high, last = sums["high"], sums["last_price"]
    variance = np.where(sums["samples"] > 0, sums["squared_returns"], np.nan)
    peak = np.fmax(windows.trailing_extremes(high, sums.minute, sums.segment), last)
    has_two = np.isfinite(last) & np.isfinite(_price_before(sums))
    is_known = np.isfinite(minute_returns)
    total, known, lacking = sums.trailing(minute_returns, is_known, has_two & ~is_known, with_current=True)
    return {
        "range_bps": _log_bps(sums["high"], sums["low"]),
        "realised_volatility_bps": np.sqrt(variance) * _BASIS_POINTS,
        "trailing_return_bps": np.where((known > 0) & (lacking == 0), total, np.nan),
        "drawdown_bps": _log_bps(peak, last),
        "return_score": ratio(minute_returns, np.sqrt(sums.mean_observed(minute_returns**2))),
        "volatility_ratio": ratio(np.sqrt(variance), np.sqrt(sums.mean_observed(variance))),
    }


def _price_before(sums: MinuteSums) -> npt.NDArray[np.float64]:
    """The last price in force before each minute, NaN before the symbol's first."""
    is_same = np.diff(sums.symbol, prepend=-1) == 0
    return np.where(is_same, np.roll(sums["last_price"], 1), np.nan)


def _log_bps(above: npt.NDArray[np.float64], below: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    quotient = ratio(above, below, where=above > 0)
    logarithm: npt.NDArray[np.float64] = np.log(quotient) * _BASIS_POINTS
    return logarithm
