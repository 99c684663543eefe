"""The compiled loop that builds bars; `time_bars` documents what the arrays hold."""

from typing import NamedTuple

import numpy as np

from tapewatch.market.arrays import EXTENDED_SHIFT, Array, FlatTrades, SessionBounds
from tapewatch.market.compiled import njit
from tapewatch.market.conditions import Updates

_OPEN_CLOSE, _HIGH_LOW, _VOLUME = int(Updates.OPEN_CLOSE), int(Updates.HIGH_LOW), int(Updates.VOLUME)

#: What `build` returns in place of a count for trades outside the day or out of order.
OUT_OF_DAY, OUT_OF_ORDER = -1, -2


class FlatBars(NamedTuple):
    """One row a bar; `symbol` is the index of the symbol's run."""

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
    """Uninitialised arrays for `bars` bars."""
    symbol, start, transactions = np.empty((3, bars), dtype=np.int64)
    opens, high, low, close, volume, notional = np.empty((6, bars))
    return FlatBars(symbol, start, opens, high, low, close, volume, notional, transactions)


@njit(cache=True, nogil=True)
def _may_update(trait: int, is_regular: bool, is_withdrawn: bool) -> np.int64:
    """What a trade may update; nothing if it was withdrawn."""
    if is_withdrawn:
        return np.int64(0)
    return np.int64(trait) if is_regular else np.int64(trait) >> EXTENDED_SHIFT


@njit(cache=True, nogil=True)
def build(
    trades: FlatTrades,
    first: Array,
    end: Array,
    hours: SessionBounds,
    floor: float,
    width: int,
    lasts: Array,
    bars: FlatBars,
) -> int:
    """Fill `bars` from rows `first[i]` to `end[i]` of each run; returns their number, or a negative fault.

    A bar spans `width` nanoseconds of the clock. Prices not above `floor` set nothing. `lasts` holds each run's last opening
    or closing price, NaN before the first, and is updated, so that a tape may be built in pieces of whole bars.
    """
    # Taking an array from its tuple for every trade would cost more than the trade.
    time, price, size, condition = trades.time, trades.price, trades.size, trades.condition
    traits, withdrawn, has_withdrawn = trades.traits, trades.withdrawn, trades.withdrawn.size > 0
    bar = 0
    for run in range(first.size):
        last = lasts[run]
        row = first[run]
        previous = hours.day_start
        while row < end[run]:
            start = time[row] - (time[row] - hours.day_start) % width
            opening = close = np.nan
            high, low, volume, notional, transactions = -np.inf, np.inf, 0.0, 0.0, 0
            while row < end[run] and time[row] < start + width:
                at = time[row]
                if at < hours.day_start or at >= hours.day_end:
                    return OUT_OF_DAY
                if at < previous:
                    return OUT_OF_ORDER
                previous = at
                is_regular = hours.regular_start <= at < hours.regular_end
                may_update = _may_update(traits[condition[row]], is_regular, has_withdrawn and withdrawn[row])
                if may_update & _VOLUME:
                    volume += size[row]
                    notional += size[row] * price[row]
                    transactions += 1
                if price[row] > floor:
                    if may_update & _HIGH_LOW:
                        high, low = max(high, price[row]), min(low, price[row])
                    if may_update & _OPEN_CLOSE:
                        close = last = price[row]
                        opening = close if np.isnan(opening) else opening
                row += 1
            if np.isnan(opening):
                if transactions == 0 or np.isnan(last):
                    # No bar: nothing traded, or only volume before the day's first price.
                    continue
                opening, close, high, low = last, last, max(high, last), min(low, last)
            bars.symbol[bar], bars.start[bar] = run, start
            bars.open[bar], bars.high[bar], bars.low[bar], bars.close[bar] = opening, high, low, close
            bars.volume[bar], bars.notional[bar], bars.transactions[bar] = volume, notional, transactions
            bar += 1
        lasts[run] = last
    return bar


@njit(cache=True, nogil=True)
def rows_before(trades: FlatTrades, at: int) -> Array:
    """The first row of each run that is not earlier than `at`."""
    rows = np.empty(trades.offsets.size - 1, dtype=np.int64)
    for run in range(rows.size):
        first, end = trades.offsets[run], trades.offsets[run + 1]
        rows[run] = first + np.searchsorted(trades.time[first:end], at)
    return rows
