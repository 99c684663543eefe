"""How much a symbol moves in a minute, by what has been seen so far."""

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.market.compiled import njit
from tapewatch.market.instruments import NS_PER_MINUTE, Session

#: A longer silence is another session: nothing is carried across it.
RESTART_NS = 60 * NS_PER_MINUTE
#: Returns that must have been seen before a volatility is stated.
WARM_UP_RETURNS = 10


def usable_bars(bars: pl.DataFrame, session: Session | None) -> pl.DataFrame:
    """The bars that labels may stand on: symbol, time, open, high, low, close, sorted.

    Args:
        bars: columns symbol, time (start of the minute), open, high, low, close.
        session: keep to its regular hours; None keeps every bar.
    """
    kept = bars.select("symbol", "time", "open", "high", "low", "close")
    if session is not None:
        start = pl.col("time").dt.epoch("ns")
        kept = kept.filter((start >= session.regular_start) & (start < session.regular_end))
    return kept.sort(pl.col("symbol").cast(pl.String), "time")


def symbol_offsets(sorted_frame: pl.DataFrame) -> npt.NDArray[np.int64]:
    """Where each symbol's rows begin in a frame sorted by symbol, and at last its height: n + 1 values for n symbols."""
    lengths = sorted_frame.select(pl.col("symbol").rle().struct.field("len")).to_series().to_numpy()
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


@njit(cache=True)
def minute_volatility(
    close: npt.NDArray[np.float64], start_ns: npt.NDArray[np.int64], offsets: npt.NDArray[np.int64], span: float
) -> npt.NDArray[np.float64]:
    """Root of the exponentially weighted mean of squared log returns, bar by bar, up to and including that bar.

    A close of zero or below breaks the series as a long silence does: it has no logarithm.

    Weights are (1 - 2 / (span + 1)) ** age and normalised by their sum, so that the first bars are not pulled to zero.

    Args:
        close: closing prices, each symbol's in time order.
        start_ns: starts of the bars.
        offsets: where each symbol begins (`symbol_offsets`).
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
