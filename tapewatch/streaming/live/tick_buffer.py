"""One minute's trades or quotes, collected in order of arrival and sorted as a batch would be."""

from typing import NamedTuple

import numpy as np

from tapewatch.features.records import FlatQuotes
from tapewatch.market.arrays import TRAITS, Array, FlatTrades
from tapewatch.market.compiled import njit
from tapewatch.market.copies import is_superseded

#: Columns of each kind of tick; `is_removed` marks a tick whose time was corrected to another place, and `tag` tells trades of
#: one number apart.
TRADE_COLUMNS = ("symbol", "time", "number", "is_removed", "price", "size", "traits", "withdrawn", "tag")
QUOTE_COLUMNS = ("symbol", "time", "number", "is_removed", "bid", "ask", "bid_size", "ask_size")
_EVERY_TRAIT = np.arange(TRAITS, dtype=np.uint16)
_VALUES, _TAG = 4, 8

Columns = tuple[Array, ...]


class Found(NamedTuple):
    """Number of ticks delivered again: unchanged, and with other content."""

    repeats: int = 0
    corrections: int = 0


class TradeBuffer:
    """The trades of one minute, `TRADE_COLUMNS`. `market.copies` says which of several copies stays."""

    def __init__(self) -> None:
        self._settled: Columns = _NO_TRADES
        self._arrived: list[Columns] = []
        self._offsets: Array = np.zeros(1, dtype=np.int64)
        self.count = 0

    def add(self, columns: Columns) -> None:
        """Add trades in order of arrival."""
        self._arrived.append(columns)
        self.count += columns[0].size

    def settle(self, symbols: int) -> Found:
        """Sort what has arrived, for symbols 0 to `symbols`."""
        if not self._arrived:
            self._offsets = _padded(self._offsets, symbols)
            return Found()
        arrived, self._arrived = self._arrived, []
        if self._settled[0].size:
            self._settled, self._offsets, found = _merged(self._settled, self._offsets, arrived, symbols)
        else:
            self._settled, self._offsets, found = _ordered(arrived, symbols)
        self.count = self._settled[0].size
        return found

    def flat(self) -> FlatTrades:
        """The settled trades for kernels."""
        _, time, _, _, price, size, traits, withdrawn, _ = self._settled
        return FlatTrades(self._offsets, time, price, size, traits, _EVERY_TRAIT, withdrawn)


class QuoteBuffer:
    """The quotes of one minute, `QUOTE_COLUMNS`, settled part by part. `market.copies` says which of several copies stays."""

    def __init__(self) -> None:
        self._parts: list[tuple[Columns, Array, int]] = []
        self._arrived: list[Columns] = []
        self.waiting = self._settled_count = 0

    @property
    def count(self) -> int:
        return self.waiting + self._settled_count

    def add(self, columns: Columns) -> None:
        """Add quotes in order of arrival."""
        self._arrived.append(columns)
        self.waiting += columns[0].size

    def settle_late(self, symbols: int, since: int) -> Found:
        """Merge what has arrived for the parts so far, which end at `since`, into them."""
        late, rest = _split(self._arrived, since)
        if not late:
            return Found()
        (columns, offsets, _), *further = self._parts
        if sum(part[0][0].size for part in further) <= columns[0].size:
            late = [*(part[0] for part in further), *late]
        else:
            # The parts alone follow each other in time and sort quickly; with late ticks they would not.
            columns, offsets, _ = _ordered([part[0] for part in self._parts], symbols)
        columns, offsets, found = _merged(columns, offsets, late, symbols)
        self._keep([(columns, offsets, since)], rest)
        return found

    def settle(self, symbols: int, until: int) -> Found:
        """Make the quotes of times before `until` the next part."""
        ready, rest = _split(self._arrived, until)
        columns, offsets, found = _ordered(ready, symbols) if ready else (_NO_QUOTES, np.zeros(1, np.int64), Found())
        self._keep([*self._parts, (columns, offsets, until)], rest)
        return found

    def parts(self, symbols: int) -> list[tuple[FlatQuotes, int]]:
        """The settled quotes of each part for kernels, and the end of each part."""
        return [
            (FlatQuotes(_padded(offsets, symbols), columns[1], *columns[_VALUES:]), until)
            for columns, offsets, until in self._parts
        ]

    def _keep(self, parts: list[tuple[Columns, Array, int]], arrived: list[Columns]) -> None:
        self._parts, self._arrived = parts, arrived
        self.waiting = sum(columns[0].size for columns in arrived)
        self._settled_count = sum(columns[0].size for columns, _, _ in parts)


def _split(pieces: list[Columns], at: int) -> tuple[list[Columns], list[Columns]]:
    """The ticks of times before `at`, and the rest."""
    before, rest = [], []
    for columns in pieces:
        is_before = columns[1] < at
        if is_before.all():
            before.append(columns)
        elif is_before.any():
            before.append(tuple(column[is_before] for column in columns))
            rest.append(tuple(column[~is_before] for column in columns))
        else:
            rest.append(columns)
    return before, rest


def _ordered(pieces: list[Columns], symbols: int) -> tuple[Columns, Array, Found]:
    """Pieces in order of arrival, sorted by symbol, time and number as one, and the start of each symbol."""
    return _finished(*_arranged(pieces, symbols))


def _merged(settled: Columns, offsets: Array, pieces: list[Columns], symbols: int) -> tuple[Columns, Array, Found]:
    """As `_ordered`, for pieces that join sorted ticks: only the pieces are sorted, the rest is copied in blocks."""
    new, new_offsets, has_repeats = _arranged(pieces, symbols)
    offsets = _padded(offsets, symbols)
    blocks, repeats_settled = _blocks(offsets, settled[1], settled[2], new_offsets, new[1], new[2])
    columns = tuple(_joined(before, after, blocks) for before, after in zip(settled, new, strict=True))
    return _finished(columns, offsets + new_offsets, has_repeats or repeats_settled)


def _arranged(pieces: list[Columns], symbols: int) -> tuple[Columns, Array, bool]:
    """Pieces sorted as one, the start of each symbol, and whether some ticks among them do not stay."""
    joined = pieces[0] if len(pieces) == 1 else tuple(map(np.concatenate, zip(*pieces, strict=True)))
    order, offsets, has_repeats = _arrange(joined[0], joined[1], joined[2], symbols)
    columns = tuple(column.take(order) for column in joined)
    return columns, offsets, has_repeats or bool(columns[3].any())


def _finished(columns: Columns, offsets: Array, has_repeats: bool) -> tuple[Columns, Array, Found]:
    found = Found()
    if has_repeats:
        columns, found = _without_repeats(columns)
        offsets = np.searchsorted(columns[0], np.arange(offsets.size))
    return _frozen(columns), offsets, found


def _frozen(columns: Columns) -> Columns:
    for column in columns:
        # Read-only like the columns of a frame, so that one compiled kernel serves both.
        column.flags.writeable = False
    return columns


def _padded(offsets: Array, symbols: int) -> Array:
    missing = symbols + 1 - offsets.size
    return np.pad(offsets, (0, missing), mode="edge") if missing else offsets


_TICK = [np.int64] * 3 + [np.bool_]
_TRADE, _QUOTE = [*_TICK, np.float64, np.float64, np.uint32, np.bool_, np.int64], [*_TICK, *[np.float64] * 4]
_NO_TRADES, _NO_QUOTES = (_frozen(tuple(np.zeros(0, dtype) for dtype in each)) for each in (_TRADE, _QUOTE))


def _without_repeats(columns: Columns) -> tuple[Columns, Found]:
    """Sorted ticks without those that a later copy replaces, and how many of these repeated or corrected another."""
    columns = _by_tag(columns)
    is_replaced = is_superseded((*columns[:3], *columns[_TAG:]))
    at = np.flatnonzero(is_replaced)
    is_same = np.ones(at.size, dtype=np.bool_)
    for column in columns[3:]:
        before, after = column[at], column[at + 1]
        is_same &= (before == after) | ((before != before) & (after != after))  # noqa: PLR0124 (NaN)
    kept = ~is_replaced & ~columns[3]
    repeats = int(is_same.sum())
    return tuple(column[kept] for column in columns), Found(repeats, at.size - repeats)


def _by_tag(columns: Columns) -> Columns:
    """Sorted ticks with those of one time and number sorted by their tag."""
    identity = (*columns[:3], *columns[_TAG:])
    if np.array_equal(is_superseded(columns[:3]), is_superseded(identity)):
        return columns
    order = np.lexsort(identity[::-1])
    return tuple(column.take(order) for column in columns)


@njit(cache=True, nogil=True)
def _arrange(symbol: Array, time: Array, number: Array, symbols: int) -> tuple[Array, Array, bool]:
    """The stable order by symbol, time and number; the start of each symbol; whether two ticks agree in all three."""
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


@njit(cache=True, nogil=True)
def _blocks(
    offsets: Array, time: Array, number: Array, new_offsets: Array, new_time: Array, new_number: Array
) -> tuple[Array, bool]:
    """Blocks of rows that stay together when new ticks join settled ones, and whether a pair has one time and number.

    A block is (1 for new or 0 for settled, first row, end). A new tick comes after a settled one of its time and number.
    """
    blocks = np.empty((2 * (new_time.size + offsets.size), 3), dtype=np.int64)
    count, has_repeats = 0, False
    for symbol in range(offsets.size - 1):
        row, end = offsets[symbol], offsets[symbol + 1]
        new, new_end = new_offsets[symbol], new_offsets[symbol + 1]
        while new < new_end:
            at = row + np.searchsorted(time[row:end], new_time[new])
            while at < end and time[at] == new_time[new] and number[at] <= new_number[new]:
                has_repeats |= number[at] == new_number[new]
                at += 1
            stop = new + 1
            while stop < new_end and (
                at == end or new_time[stop] < time[at] or (new_time[stop] == time[at] and new_number[stop] < number[at])
            ):
                stop += 1
            blocks[count], blocks[count + 1] = (0, row, at), (1, new, stop)
            row, new, count = at, stop, count + 2
        blocks[count] = 0, row, end
        count += 1
    return blocks[:count], has_repeats


@njit(cache=True, nogil=True)
def _joined(settled: Array, new: Array, blocks: Array) -> Array:
    """A column of settled and new ticks, block by block."""
    joined = np.empty(settled.size + new.size, dtype=settled.dtype)
    at = 0
    for block in range(blocks.shape[0]):
        first, end = blocks[block, 1], blocks[block, 2]
        if blocks[block, 0]:
            joined[at : at + end - first] = new[first:end]
        else:
            joined[at : at + end - first] = settled[first:end]
        at += end - first
    return joined
