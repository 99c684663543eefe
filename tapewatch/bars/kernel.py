"""The compiled loop that builds bars by the clock. Flat arrays in, flat arrays out; what they mean is in `time_bars`."""

from typing import NamedTuple

import numba
import numpy as np

from tapewatch.market.arrays import EXTENDED_SHIFT, Array, FlatTrades, Hours
from tapewatch.market.conditions import Updates

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
def build(trades: FlatTrades, first: Array, end: Array, hours: Hours, width: int, lasts: Array, bars: FlatBars) -> int:
    """Fill `bars` one by one from rows `first[i]` to `end[i]` of each run; returns their number, or a negative fault.

    A bar spans `width` nanoseconds of the clock. `lasts` holds each run's last opening or closing price, 0 before the
    first, and is moved on: whole bars one by one give what they give at once.
    """
    bar = 0
    for run in range(first.size):
        last = lasts[run]
        bar_end = np.int64(0)
        previous = hours.day_start
        for row in range(first[run], end[run]):
            at = trades.time[row]
            if at < hours.day_start or at >= hours.day_end:
                return OUT_OF_DAY
            if at < previous:
                return OUT_OF_ORDER
            previous = at
            if at >= bar_end:
                if bar_end:
                    bar += _finish(bars, bar, last)
                start = at - (at - hours.day_start) % width
                bar_end = start + width
                _begin(bars, bar, run, start)
            if not (trades.withdrawn.size and trades.withdrawn[row]):
                trait = trades.traits[trades.condition[row]]
                is_regular = hours.regular_start <= at < hours.regular_end
                may_update = trait if is_regular else trait >> EXTENDED_SHIFT
                last = _update(bars, bar, trades.price[row], trades.size[row], may_update, last)
        if bar_end:
            bar += _finish(bars, bar, last)
        lasts[run] = last
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


@numba.njit(cache=True, nogil=True)
def rows_before(trades: FlatTrades, at: int) -> Array:
    """Of each run, the row behind the last one earlier than `at`."""
    rows = np.empty(trades.offsets.size - 1, dtype=np.int64)
    for run in range(rows.size):
        first, end = trades.offsets[run], trades.offsets[run + 1]
        rows[run] = first + np.searchsorted(trades.time[first:end], at)
    return rows
