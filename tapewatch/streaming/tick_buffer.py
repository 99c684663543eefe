"""One minute's trades or quotes as they arrive, and in the order in which a batch would hold them.

Belongs here: order, repeats and corrections among the ticks of a minute. Not here: what is computed of them.
"""

import numba
import numpy as np

from tapewatch.features.records import FlatQuotes
from tapewatch.market.arrays import Array, FlatTrades

#: Columns of each kind of tick; `is_removed` marks a tick that went elsewhere when its time was corrected.
TRADE_COLUMNS = ("symbol", "time", "number", "is_removed", "price", "size", "traits", "withdrawn")
QUOTE_COLUMNS = ("symbol", "time", "number", "is_removed", "bid", "ask", "bid_size", "ask_size")
_EVERY_TRAIT = np.arange(256, dtype=np.uint8)
_VALUES = 4

Columns = tuple[Array, ...]


class TickBuffer:
    """Ticks of one kind in one minute, `columns` as above. Of ticks with one symbol, time and number the last stays."""

    def __init__(self, columns: tuple[str, ...]) -> None:
        self._names = columns
        self._settled: Columns | None = None
        self._arrived: list[Columns] = []
        self._offsets: Array = np.zeros(1, dtype=np.int64)
        self.count = 0

    def add(self, columns: Columns) -> None:
        """Take ticks in the order of arrival."""
        self._arrived.append(columns)
        self.count += columns[0].size

    def settle(self, symbols: int) -> tuple[int, int]:
        """Bring into order what has arrived, for symbols 0 to `symbols`; returns the repeats and corrections found."""
        if not self._arrived:
            if self._offsets.size <= symbols:
                self._offsets = np.pad(self._offsets, (0, symbols + 1 - self._offsets.size), mode="edge")
            return 0, 0
        pieces = [*([] if self._settled is None else [self._settled]), *self._arrived]
        self._arrived = []
        joined = pieces[0] if len(pieces) == 1 else tuple(map(np.concatenate, zip(*pieces, strict=True)))
        order, self._offsets, has_repeats = _arrange(joined[0], joined[1], joined[2], symbols)
        columns = tuple(column[order] for column in joined)
        found = (0, 0)
        if has_repeats or columns[3].any():
            columns, found = _without_repeats(columns)
            self._offsets = np.searchsorted(columns[0], np.arange(symbols + 1))
        for column in columns:
            # As the columns of a frame are: one compiled kernel serves both.
            column.flags.writeable = False
        self._settled = columns
        self.count = columns[0].size
        return found

    def trades(self) -> FlatTrades:
        """Settled trades as kernels take them; only for a buffer of trades."""
        _, time, _, _, price, size, traits, withdrawn = self._columns()
        return FlatTrades(self._offsets, time, price, size, traits, _EVERY_TRAIT, withdrawn)

    def quotes(self) -> FlatQuotes:
        """Settled quotes as kernels take them; only for a buffer of quotes."""
        _, time, _, _, bid, ask, bid_size, ask_size = self._columns()
        return FlatQuotes(self._offsets, time, bid, ask, bid_size, ask_size)

    def _columns(self) -> Columns:
        return _nothing(self._names) if self._settled is None else self._settled


def _nothing(names: tuple[str, ...]) -> Columns:
    dtypes = {"symbol": np.int64, "time": np.int64, "number": np.int64, "traits": np.uint32}
    columns = tuple(
        np.zeros(0, dtype=np.bool_ if name in ("is_removed", "withdrawn") else dtypes.get(name, np.float64))
        for name in names
    )
    for column in columns:
        column.flags.writeable = False
    return columns


def _without_repeats(columns: Columns) -> tuple[Columns, tuple[int, int]]:
    """Ordered ticks, the last alone of those with one symbol, time and number; how many repeated or corrected another."""
    is_replaced = np.append(np.all([column[1:] == column[:-1] for column in columns[:3]], axis=0), [False])
    at = np.flatnonzero(is_replaced)
    is_same = np.ones(at.size, dtype=np.bool_)
    for column in columns[3:]:
        before, after = column[at], column[at + 1]
        is_same &= (before == after) | ((before != before) & (after != after))  # noqa: PLR0124 (NaN)
    kept = ~is_replaced & ~columns[3]
    repeats = int(is_same.sum())
    return tuple(column[kept] for column in columns), (repeats, at.size - repeats)


@numba.njit(cache=True, nogil=True)
def _arrange(symbol: Array, time: Array, number: Array, symbols: int) -> tuple[Array, Array, bool]:
    """The stable order by symbol, time and number; where each symbol begins; whether two ticks agree in all three."""
    offsets = np.zeros(symbols + 1, dtype=np.int64)
    for row in range(symbol.size):
        offsets[symbol[row] + 1] += 1
    offsets = np.cumsum(offsets)
    place = offsets[:-1].copy()
    order = np.empty(symbol.size, dtype=np.int64)
    for row in range(symbol.size):
        order[place[symbol[row]]] = row
        place[symbol[row]] += 1
    has_repeats = False
    for at in range(symbols):
        first, end = offsets[at], offsets[at + 1]
        for here in range(first + 1, end):
            if time[order[here]] < time[order[here - 1]]:
                run = order[first:end].copy()
                order[first:end] = run[np.argsort(time[run], kind="mergesort")]
                break
        for here in range(first + 1, end):
            row, back = order[here], here
            while back > first and time[order[back - 1]] == time[row] and number[order[back - 1]] > number[row]:
                order[back] = order[back - 1]
                back -= 1
            order[back] = row
            if back > first and time[order[back - 1]] == time[row] and number[order[back - 1]] == number[row]:
                has_repeats = True
    return order, offsets, has_repeats
