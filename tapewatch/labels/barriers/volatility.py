"""Trailing volatility of minute returns, and the bars that labels are made from."""

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.market.compiled import njit
from tapewatch.market.instruments import NS_PER_MINUTE, Session

#: After a longer silence volatility and sums start anew.
RESTART_NS = 60 * NS_PER_MINUTE
#: Returns needed before there is a volatility.
WARM_UP_RETURNS = 10


def usable_bars(bars: pl.DataFrame, session: Session | None) -> pl.DataFrame:
    """The bars that labels are made from: symbol, time, open, high, low, close, sorted.

    Args:
        bars: columns symbol, time (start of the minute), open, high, low, close.
        session: keep to its regular hours; None keeps every bar.
    """
    kept = bars.select("symbol", "time", "open", "high", "low", "close")
    if session is not None:
        start = pl.col("time").dt.epoch("ns")
        kept = kept.filter((start >= session.regular_start) & (start < session.regular_end))
    return kept.sort(pl.col("symbol").cast(pl.String), "time")


@njit(cache=True)
def minute_volatility(
    close: npt.NDArray[np.float64], start_ns: npt.NDArray[np.int64], offsets: npt.NDArray[np.int64], span: float
) -> npt.NDArray[np.float64]:
    """Root of the exponentially weighted mean of squared log returns, bar by bar, up to and including that bar.

    Weights are (1 - 2 / (span + 1)) ** age, divided by their sum. A close of zero or below has no logarithm: it breaks the
    series as a silence of more than an hour does.

    Args:
        close: closing prices, each symbol's in time order.
        start_ns: starts of the bars.
        offsets: where each symbol begins (`symbol_runs`).
        span: of the weights, in bars.

    Returns:
        Log-return units a bar; NaN until `WARM_UP_RETURNS` returns since the symbol's first bar or the last break.
    """
    out = np.full(close.size, np.nan)
    keep = 1.0 - 2.0 / (span + 1.0)
    for symbol in range(offsets.size - 1):
        total = weight = 0.0
        seen = 0
        for i in range(offsets[symbol] + 1, offsets[symbol + 1]):
            if start_ns[i] - start_ns[i - 1] > RESTART_NS or min(close[i], close[i - 1]) <= 0.0:
                total = weight = 0.0
                seen = 0
                continue
            move = np.log(close[i] / close[i - 1])
            total = keep * total + move * move
            weight = keep * weight + 1.0
            seen += 1
            if seen >= WARM_UP_RETURNS:
                out[i] = np.sqrt(total / weight)
    return out
