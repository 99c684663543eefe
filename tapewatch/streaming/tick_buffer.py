"""One minute's trades or quotes as they arrive, and in the order in which a batch would hold them.

Belongs here: order, repeats and corrections among the ticks of a minute. Not here: what is computed of them.
"""

from collections.abc import Sequence
from typing import NamedTuple

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


class Found(NamedTuple):
    """Ticks that came up again: as they were, and with other content."""

    repeats: int = 0
    corrections: int = 0


class TradeBuffer:
    """The trades of one minute, `TRADE_COLUMNS`. Of trades with one symbol, time and number the last stays."""

    def __init__(self) -> None:
        self._settled: Columns | None = None
        self._arrived: list[Columns] = []
        self._offsets: Array = np.zeros(1, dtype=np.int64)
        self.count = 0

    def add(self, columns: Columns) -> None:
        """Take trades in the order of arrival."""
        self._arrived.append(columns)
        self.count += columns[0].size

    def settle(self, symbols: int) -> Found:
        """Bring into order what has arrived, for symbols 0 to `symbols`."""
        if not self._arrived:
            self._offsets = _padded(self._offsets, symbols)
            return Found()
        pieces = [*([] if self._settled is None else [self._settled]), *self._arrived]
        self._arrived = []
        self._settled, self._offsets, found = _ordered(pieces, symbols)
        self.count = self._settled[0].size
        return found

    def flat(self) -> FlatTrades:
        """What is settled, as kernels take it."""
        _, time, _, _, price, size, traits, withdrawn = _NO_TRADES if self._settled is None else self._settled
        return FlatTrades(self._offsets, time, price, size, traits, _EVERY_TRAIT, withdrawn)


class QuoteBuffer:
    """The quotes of one minute, `QUOTE_COLUMNS`, settled part by part. Of quotes with one symbol, time and number the last
    stays."""

    def __init__(self) -> None:
        self._parts: list[tuple[Columns, Array, int]] = []
        self._arrived: list[Columns] = []
        self.waiting = self._settled_count = 0

    @property
    def count(self) -> int:
        """Quotes held."""
        return self.waiting + self._settled_count

    def add(self, columns: Columns) -> None:
        """Take quotes in the order of arrival."""
        self._arrived.append(columns)
        self.waiting += columns[0].size

    def settle_late(self, symbols: int, since: int) -> Found:
        """Join the parts so far, which end at `since`, with what has arrived for them."""
        late, rest = self._split(since)
        if not late:
            return Found()
        columns, offsets, found = _ordered([*(part[0] for part in self._parts), *late], symbols)
        self._keep([(columns, offsets, since)], rest)
        return found

    def settle(self, symbols: int, until: int) -> Found:
        """Make what arrived before `until` the next part."""
        ready, rest = self._split(until)
        columns, offsets, found = _ordered(ready, symbols) if ready else (_NO_QUOTES, np.zeros(1, np.int64), Found())
        self._keep([*self._parts, (columns, offsets, until)], rest)
        return found

    def parts(self, symbols: int) -> list[tuple[FlatQuotes, int]]:
        """Settled quotes part by part as kernels take them, and where each part ends."""
        return [
            (FlatQuotes(_padded(offsets, symbols), columns[1], *columns[_VALUES:]), until)
            for columns, offsets, until in self._parts
        ]

    def _split(self, at: int) -> tuple[list[Columns], list[Columns]]:
        """What has arrived for times before `at`, and the rest."""
        before, rest = [], []
        for columns in self._arrived:
            is_before = columns[1] < at
            if is_before.all():
                before.append(columns)
            elif is_before.any():
                before.append(tuple(column[is_before] for column in columns))
                rest.append(tuple(column[~is_before] for column in columns))
            else:
                rest.append(columns)
        return before, rest

    def _keep(self, parts: list[tuple[Columns, Array, int]], arrived: list[Columns]) -> None:
        self._parts, self._arrived = parts, arrived
        self.waiting = sum(columns[0].size for columns in arrived)
        self._settled_count = sum(columns[0].size for columns, _, _ in parts)


def _ordered(pieces: list[Columns], symbols: int) -> tuple[Columns, Array, Found]:
    """Pieces in order of arrival as one, ordered by symbol, time and number, and where each symbol begins."""
    joined = pieces[0] if len(pieces) == 1 else tuple(map(np.concatenate, zip(*pieces, strict=True)))
    order, offsets, has_repeats = _arrange(joined[0], joined[1], joined[2], symbols)
    columns, found = tuple(column[order] for column in joined), Found()
    if has_repeats or columns[3].any():
        columns, found = _without_repeats(columns)
        offsets = np.searchsorted(columns[0], np.arange(symbols + 1))
    return _frozen(columns), offsets, found


def _frozen(columns: Columns) -> Columns:
    for column in columns:
        # As the columns of a frame are: one compiled kernel serves both.
        column.flags.writeable = False
    return columns


def _padded(offsets: Array, symbols: int) -> Array:
    missing = symbols + 1 - offsets.size
    return np.pad(offsets, (0, missing), mode="edge") if missing else offsets


def _no_rows(dtypes: Sequence[type]) -> Columns:
    return _frozen(tuple(np.zeros(0, dtype=dtype) for dtype in dtypes))


_NO_TRADES = _no_rows([np.int64] * 3 + [np.bool_, np.float64, np.float64, np.uint32, np.bool_])
_NO_QUOTES = _no_rows([np.int64] * 3 + [np.bool_] + [np.float64] * 4)


def _without_repeats(columns: Columns) -> tuple[Columns, Found]:
    """Ordered ticks, the last alone of those with one symbol, time and number; how many repeated or corrected another."""
    is_replaced = np.append(np.all([column[1:] == column[:-1] for column in columns[:3]], axis=0), [False])
    at = np.flatnonzero(is_replaced)
    is_same = np.ones(at.size, dtype=np.bool_)
    for column in columns[3:]:
        before, after = column[at], column[at + 1]
        is_same &= (before == after) | ((before != before) & (after != after))  # noqa: PLR0124 (NaN)
    kept = ~is_replaced & ~columns[3]
    repeats = int(is_same.sum())
    return tuple(column[kept] for column in columns), Found(repeats, at.size - repeats)


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
