"""Events to label: the symmetric CUSUM filter on log prices."""

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.labels.barriers.volatility import RESTART_NS, minute_volatility, usable_bars
from tapewatch.market.arrays import flat, symbol_runs
from tapewatch.market.compiled import njit
from tapewatch.market.instruments import NS_PER_MINUTE, Session
from tapewatch.market.tables.tape import SYMBOL, TIME

BPS = 1e4
#: What `cusum_events` returns.
EVENT_SCHEMA = pl.Schema(
    {"symbol": SYMBOL, "event_time": TIME, "side": pl.Int8(), "volatility_bps": pl.Float64(), "price": pl.Float64()}
)


def cusum_events(
    bars: pl.DataFrame,
    *,
    multiple: float = 4.0,
    span: float = 60.0,
    floor_bps: float = 1.0,
    session: Session | None = None,
) -> pl.DataFrame:
    """Minutes at which log prices have drifted `multiple` trailing volatilities since the last event.

    Over log returns r there are two sums, S+ = max(0, S+ + r) and S- = min(0, S- + r). Where one reaches the threshold there is
    an event, and that sum restarts at zero (López de Prado 2018, section 2.5.2.1). The threshold at a bar is `multiple` times
    the volatility known at the bar before, so that a jump does not raise its own threshold.

    Args:
        bars: minute bars: symbol, time (start), open, high, low, close. A close of zero or below has no logarithm: it is
            no event, and the sums restart after it.
        multiple: threshold in volatilities of a minute.
        span: of the exponentially weighted volatility, in bars.
        floor_bps: the least volatility assumed.
        session: keep to its regular hours; None uses every bar.

    Returns:
        symbol, event_time (the END of the bar, when it is known), side (1 up, -1 down), volatility_bps (a minute's, including
        this bar), price (the close); sorted by symbol and event_time, unique by both, no nulls.

    Raises:
        ValueError: `multiple` or `span` is not positive.
    """
    if multiple <= 0 or span <= 0:
        raise ValueError(f"multiple and span must be positive, not {multiple} and {span}")
    kept = usable_bars(bars, session)
    close, start_ns, (_, offsets) = flat(kept["close"]), flat(kept["time"]), symbol_runs(kept)
    volatility = np.maximum(minute_volatility(close, start_ns, offsets, span), floor_bps / BPS)
    side = cusum_sides(close, start_ns, offsets, multiple * volatility)
    return (
        kept.select(
            "symbol",
            event_time=pl.col("time") + pl.duration(minutes=1),
            side=pl.Series(side),
            volatility_bps=pl.Series(volatility * BPS),
            price="close",
        )
        .filter(pl.col("side") != 0)
        .cast(EVENT_SCHEMA)
    )


@njit(cache=True)
def cusum_sides(
    close: npt.NDArray[np.float64],
    start_ns: npt.NDArray[np.int64],
    offsets: npt.NDArray[np.int64],
    threshold: npt.NDArray[np.float64],
) -> npt.NDArray[np.int8]:
    """1 at bars where the upward sum reaches the threshold, -1 where the downward one does, else 0.

    Args:
        close: closing prices, each symbol's in time order; sums restart after one of zero or below.
        start_ns: starts of the bars; sums restart after a long silence.
        offsets: where each symbol begins.
        threshold: log-return units, as known at each bar; the one of the bar BEFORE applies. NaN: no event, sums stay zero.
    """
    sides = np.zeros(close.size, dtype=np.int8)
    for symbol in range(offsets.size - 1):
        up = down = 0.0
        for i in range(offsets[symbol] + 1, offsets[symbol + 1]):
            limit = threshold[i - 1]
            is_defined = min(close[i], close[i - 1]) > 0.0
            if start_ns[i] - start_ns[i - 1] > RESTART_NS or np.isnan(limit) or not is_defined:
                up = down = 0.0
                continue
            move = np.log(close[i] / close[i - 1])
            up, down = max(0.0, up + move), min(0.0, down + move)
            if up >= limit:
                sides[i], up = 1, 0.0
            elif -down >= limit:
                sides[i], down = -1, 0.0
    return sides


def end_times(bars: pl.DataFrame) -> npt.NDArray[np.int64]:
    """Ends of minute bars as int64 nanoseconds."""
    return np.asarray(flat(bars["time"]) + NS_PER_MINUTE)
