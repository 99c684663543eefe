"""The compiled loop that builds minute bars. Flat arrays in, flat arrays out; what they mean is in `time_bars`."""

from typing import NamedTuple

import numba
import numpy as np

from tapewatch.market.arrays import EXTENDED_SHIFT, Array, FlatTrades, Hours
from tapewatch.market.conditions import Updates
from tapewatch.market.instruments import NS_PER_MINUTE

_OPEN_CLOSE, _HIGH_LOW, _VOLUME = int(Updates.OPEN_CLOSE), int(Updates.HIGH_LOW), int(Updates.VOLUME)

#: What `build` returns in place of a count when the trades are not what it was promised.
OUT_OF_DAY, OUT_OF_ORDER = -1, -2


class FlatBars(NamedTuple):
    """One row a bar. `symbol` is the position of the symbol's run."""

    symbol: Array
    start: Array
    open: Array
    high: Array
    low: Array
    close: Array
    volume: Array
    notional: Array
    transactions: Array


def room_for(bars: int) -> FlatBars:
    """Arrays for as many bars."""
    symbol, start, transactions = np.empty((3, bars), dtype=np.int64)
    opens, high, low, close, volume, notional = np.empty((6, bars))
    return FlatBars(symbol, start, opens, high, low, close, volume, notional, transactions)


@numba.njit(cache=True, nogil=True)
def build(trades: FlatTrades, hours: Hours, bars: FlatBars) -> int:
    """Fill `bars` one by one; returns their number, or a negative fault."""
    bar = 0
    for run in range(trades.offsets.size - 1):
        last = 0.0
        minute_end = np.int64(0)
        previous = hours.day_start
        for row in range(trades.offsets[run], trades.offsets[run + 1]):
            at = trades.time[row]
            if at < hours.day_start or at >= hours.day_end:
                return OUT_OF_DAY
            if at < previous:
                return OUT_OF_ORDER
            previous = at
            if at >= minute_end:
                if minute_end:
                    bar += _finish(bars, bar, last)
                start = at - (at - hours.day_start) % NS_PER_MINUTE
                minute_end = start + NS_PER_MINUTE
                _begin(bars, bar, run, start)
            if not (trades.withdrawn.size and trades.withdrawn[row]):
                trait = trades.traits[trades.condition[row]]
                is_regular = hours.regular_start <= at < hours.regular_end
                may_update = trait if is_regular else trait >> EXTENDED_SHIFT
                last = _update(bars, bar, trades.price[row], trades.size[row], may_update, last)
        if minute_end:
            bar += _finish(bars, bar, last)
    return bar


@numba.njit(cache=True, nogil=True)
def _begin(bars: FlatBars, bar: int, run: int, start: int) -> None:
    bars.symbol[bar] = run
    bars.start[bar] = start
    bars.open[bar] = bars.high[bar] = bars.close[bar] = bars.volume[bar] = bars.notional[bar] = 0.0
    bars.low[bar] = np.inf
    bars.transactions[bar] = 0


@numba.njit(cache=True, nogil=True)
def _update(bars: FlatBars, bar: int, price: float, size: float, may_update: int, last: float) -> float:
    """Enter a trade; returns the last opening or closing price so far."""
    if may_update & _VOLUME:
        bars.volume[bar] += size
        bars.notional[bar] += size * price
        bars.transactions[bar] += 1
    if price <= 0.0:
        return last
    if may_update & _HIGH_LOW:
        bars.high[bar] = max(bars.high[bar], price)
        bars.low[bar] = min(bars.low[bar], price)
    if not may_update & _OPEN_CLOSE:
        return last
    bars.close[bar] = price
    if bars.open[bar] == 0.0:
        bars.open[bar] = price
    return price


@numba.njit(cache=True, nogil=True)
def _finish(bars: FlatBars, bar: int, last: float) -> bool:
    """Complete the bar in hand; False where it holds nothing, or volume alone before the day's first price."""
    if bars.open[bar] > 0.0:
        return True
    if bars.transactions[bar] == 0 or last == 0.0:
        return False
    bars.open[bar] = bars.close[bar] = last
    bars.high[bar] = max(bars.high[bar], last)
    bars.low[bar] = min(bars.low[bar], last)
    return True
