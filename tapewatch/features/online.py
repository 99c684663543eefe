"""Microstructure rows of a day under way, with revisions where late ticks change them."""

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from tapewatch.features import kernel
from tapewatch.features.families import rows as more
from tapewatch.features.families.trade_sizes import NAMES as SIZES
from tapewatch.features.families.trade_sizes import sizes_of_minute
from tapewatch.features.microstructure import LOOK_BACK, minute_rows
from tapewatch.features.records import MINUTE, FlatQuotes, Span, Waiting, fresh_states, room_for_waiting
from tapewatch.features.sums import MinuteSums, flat_quotes
from tapewatch.market.arrays import Array, FlatTrades, flat_trades, session_bounds
from tapewatch.market.instruments import NS_PER_MINUTE, Market, Session
from tapewatch.market.prices import floor_of
from tapewatch.market.tables.features import MICROSTRUCTURE_MORE
from tapewatch.market.tables.live import LIVE_MICROSTRUCTURE
from tapewatch.market.tables.tape import QUOTES, SYMBOL, TIME, TRADES

_NO_ROWS = LIVE_MICROSTRUCTURE.empty()
_NO_KEYS, _NO_MORE = _NO_ROWS.select(LIVE_MICROSTRUCTURE.key), MICROSTRUCTURE_MORE.empty()
_NEVER = int(np.iinfo(np.int64).max)


@dataclass(slots=True)
class _Passed:
    """The states at a minute's start, and the waiting trades before and after it."""

    states: Array
    before: Waiting
    after: Waiting
    # During the pass: the minute so far, by symbol.
    records: Array = field(default_factory=lambda: np.zeros(0, dtype=MINUTE))
    is_begun: Array = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))


@dataclass(frozen=True, slots=True)
class _Minutes:
    """Summed minutes in order of symbol and start."""

    symbol: Array
    records: Array
    revision: Array
    #: `trade_sizes`, rows x 3.
    sizes: Array

    def key(self, session: Session) -> Array:
        """A number for each symbol and minute, ascending in both."""
        key: Array = self.symbol << 32 | (self.records["start"] - session.day_start) // NS_PER_MINUTE
        return key

    def where(self, chosen: Array) -> "_Minutes":
        return _Minutes(self.symbol[chosen], self.records[chosen], self.revision[chosen], self.sizes[chosen])


@dataclass(frozen=True, slots=True)
class NewRows:
    """Rows that are new or changed, as `LIVE_MICROSTRUCTURE` and `MICROSTRUCTURE_MORE`; symbol and event_time of those withdrawn."""

    rows: pl.DataFrame
    more: pl.DataFrame
    withdrawn: pl.DataFrame


_NOTHING = NewRows(_NO_ROWS, _NO_MORE, _NO_KEYS)


class OnlineMicrostructure:
    """Passes over minutes as they complete, and again over late ones; `take_rows` returns what is new or changed.

    Symbols are numbered in the order of `begin`. The rows equal those of `microstructure` and, if it `has_more`, those of
    `microstructure_more`, for the same ticks, bit for bit.
    """

    def __init__(self, session: Session, *, horizon_minutes: int, has_more: bool = False) -> None:
        self._session = session
        self._hours, self._floor = session_bounds(session), floor_of(session.market)
        self._has_more = has_more
        self._back = np.arange(1, (more.LOOK_BACK if has_more else LOOK_BACK) + 1)
        self._rows_kept = self._back.size + horizon_minutes + 2
        self._names = pl.Series("symbol", [], SYMBOL)
        self._states = fresh_states(0)
        self._waiting = room_for_waiting(0)
        self._passed: dict[int, _Passed] = {}
        none = np.zeros(0, dtype=np.int64)
        self._minutes = _Minutes(none, np.zeros(0, dtype=MINUTE), none, _no_sizes(0))
        # Of the current sweep: the symbols that take part, their first minutes, and the minutes summed.
        self._takes_part = np.zeros(0, dtype=np.bool_)
        self._since = np.zeros(0, dtype=np.int64)
        self._summed: list[tuple[Array, Array, Array]] = []
        self._waiting_before: Waiting | None = None

    def begin(self, names: list[str], silent: Array) -> None:
        """Add symbols without ticks so far; their silent minutes, which start at `silent`, are summed at once."""
        known, count = len(self._names), len(names)
        self._names = pl.concat([self._names, pl.Series("symbol", names, SYMBOL)])
        self._states = np.concatenate([self._states, fresh_states(count)])
        self._takes_part = np.append(self._takes_part, np.ones(count, dtype=np.bool_))
        self._since = np.append(self._since, np.full(count, silent[0] if silent.size else _NEVER))
        for start, passed in self._passed.items():
            passed.states = np.concatenate([passed.states, fresh_states(count)])
            if passed.records.size:
                passed.records = np.append(passed.records, np.zeros(count, dtype=MINUTE))
                passed.records["start"] = start
                passed.is_begun = np.append(passed.is_begun, np.zeros(count, dtype=np.bool_))
        if not silent.size:
            return
        _, no_trades = flat_trades(TRADES.empty(), self._session, {})
        _, no_quotes = flat_quotes(QUOTES.empty())
        for symbol in range(known, known + count):
            records = np.zeros(silent.size, dtype=MINUTE)
            records["start"] = silent
            state, span, until = self._states[symbol], Span(0, 0, 0, 0), self._hours.day_end
            kernel.summarise(
                no_trades, no_quotes, span, self._hours, self._floor, False, False, records, state, room_for_waiting(0), 0,
                0, False, until,
            )  # fmt: skip
            self._summed.append((np.full(silent.size, symbol), records, _no_sizes(silent.size)))

    def pass_part(
        self, start: int, trades: FlatTrades, quotes: FlatQuotes, since: int, until: int, again: Array | None = None
    ) -> None:
        """Sum up a part of the minute at `start`, from `since`, where the part before ended, to `until`.

        For every symbol, or, if the part was passed before, once more for those marked in `again`.

        Args:
            trades: those of the minute.
            quotes: those of the part.

        Raises:
            ValueError: ticks are out of order.
        """
        count = len(self._names)
        passed = self._passed.get(start) or self._first_time(start, again)
        joining = np.ones(count, dtype=np.bool_) if again is None else again
        if since == start:
            self._begin_minute(start, passed, joining, is_again=again is not None)
        is_last = until == start + NS_PER_MINUTE
        is_regular = self._hours.regular_start <= start < self._hours.regular_end
        has_row = joining & (passed.is_begun | is_regular) & is_last
        modes = np.where(has_row, kernel.PASS, np.where(joining, kernel.IF_TICKED, kernel.KEEP))
        before = _padded(passed.before if since == start else passed.after, count)
        then = before if again is None else _padded(passed.after, count)
        after = room_for_waiting(before.time.size + then.time.size + trades.time.size, count)
        market = self._session.market
        states_sides, mids_are_prices = market is Market.CRYPTO, market is Market.FOREX
        fault = kernel.summarise_part(
            trades, quotes, since, until, modes, self._hours, self._floor, states_sides, mids_are_prices, passed.records,
            passed.is_begun, self._states, before, then, after,
        )  # fmt: skip
        if fault != kernel.OK:
            raise ValueError(f"the ticks of the minute at {start} are out of order of time")
        passed.after = self._waiting = _cut(after)
        if is_last:
            self._waiting_before = passed.after
            self._since[joining] = np.minimum(self._since[joining], start)
            symbols = np.flatnonzero(joining & passed.is_begun)
            sizes = sizes_of_minute(trades, symbols, start, self._hours) if self._has_more else _no_sizes(symbols.size)
            self._summed.append((symbols, passed.records[symbols], sizes))
            passed.records, passed.is_begun = passed.records[:0], passed.is_begun[:0]

    def _begin_minute(self, start: int, passed: _Passed, joining: Array, *, is_again: bool) -> None:
        """Set the joining symbols to their states at the minute's start, stored or from the minute before."""
        count = len(self._names)
        if self._waiting_before is not None:
            passed.before = self._waiting_before
        fresh, staying = joining & ~self._takes_part, joining & self._takes_part
        if is_again:
            self._states[fresh] = passed.states[fresh]
        passed.states[staying] = self._states[staying]
        self._takes_part |= joining
        if passed.records.size < count:
            passed.records, passed.is_begun = np.zeros(count, dtype=MINUTE), np.zeros(count, dtype=np.bool_)
        passed.records[joining], passed.is_begun[joining] = np.zeros(1, dtype=MINUTE), False
        passed.records["start"] = start

    def _first_time(self, start: int, again: Array | None) -> _Passed:
        """Enter a minute not passed before; one between others starts with the states of the next."""
        later = [] if again is None else [at for at in self._passed if at > start]
        nothing = room_for_waiting(0, len(self._names))
        if later:
            behind = self._passed[min(later)]
            passed = _Passed(behind.states.copy(), behind.before, nothing)
        else:
            passed = _Passed(self._states.copy(), self._waiting, nothing)
        self._passed[start] = passed
        return passed

    def take_rows(self) -> NewRows:
        """End a sweep: what is new or changed."""
        summed, self._summed = self._summed, []
        since, self._since = self._since, np.full(self._since.size, _NEVER)
        self._takes_part[:] = False
        self._waiting_before = None
        if not summed:
            return _NOTHING
        held = self._minutes
        is_past = held.records["start"] < since[held.symbol]
        old = held.where(~is_past)
        symbol = np.concatenate([held.symbol[is_past], *(symbols for symbols, _, _ in summed)])
        records = _joined([held.records[is_past], *(records for _, records, _ in summed)])
        sizes = np.concatenate([held.sizes[is_past], *(sizes for _, _, sizes in summed)])
        revision = np.concatenate([held.revision[is_past], np.zeros(records.size - is_past.sum(), dtype=np.int64)])
        order = np.lexsort((records["start"], symbol))
        minutes = _Minutes(symbol[order], records[order], revision[order], sizes[order])
        is_new = minutes.records["start"] >= since[minutes.symbol]
        (rows, further), new = self._rows_of(minutes, is_new), minutes.where(is_new)
        is_gone = np.zeros(old.symbol.size, dtype=np.bool_)
        is_changed = has_changed = np.ones(new.symbol.size, dtype=np.bool_)
        if old.symbol.size:
            old_rows, old_further = self._rows_of(held, ~is_past)
            new_key, old_key = new.key(self._session), old.key(self._session)
            at = np.minimum(np.searchsorted(old_key, new_key), old_key.size - 1)
            was_there, is_gone = old_key[at] == new_key, ~np.isin(old_key, new_key)
            differs = _differs(rows, old_rows[at])
            is_changed = has_changed = ~was_there | differs
            if self._has_more:
                has_changed = ~was_there | _differs(further, old_further[at])
            minutes.revision[is_new] = np.where(was_there, old.revision[at] + differs, 0)
        self._minutes = minutes.where(_rows_behind(minutes.symbol) < self._rows_kept)
        rows = rows.hstack([pl.Series("revision", minutes.revision[is_new].astype(np.int32))])
        return NewRows(_chosen(rows, is_changed), _chosen(further, has_changed), self._keys_of(old.where(is_gone)))

    def forget(self, before: int) -> None:
        """Drop minutes that start before `before`; they can no longer be passed again."""
        for start in [start for start in self._passed if start < before]:
            del self._passed[start]

    def _rows_of(self, minutes: _Minutes, wanted: Array) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Rows of the wanted minutes of both tables, computed with the earlier minutes that they depend on."""
        at = np.flatnonzero(wanted)
        if not at.size:
            return _NO_ROWS.drop("revision"), _NO_MORE
        needed = wanted.copy()
        first = at[np.flatnonzero(np.diff(minutes.symbol[at], prepend=-1))]
        needed[np.maximum(first[:, np.newaxis] - self._back, 0)] = True
        sums = MinuteSums(self._names, self._session, minutes.symbol[needed], minutes.records[needed])
        chosen = None if at.size == sums.symbol.size else wanted[needed]
        rows = minute_rows(sums, chosen)
        if not self._has_more:
            return rows, _NO_MORE
        sizes = dict(zip(SIZES, minutes.sizes[needed].T, strict=True))
        return rows, more.more_rows(sums, sizes, chosen)

    def _keys_of(self, minutes: _Minutes) -> pl.DataFrame:
        if not minutes.symbol.size:
            return _NO_KEYS
        return pl.DataFrame(
            [self._names[minutes.symbol], pl.Series("event_time", minutes.records["start"].copy()).cast(TIME)]
        )


def _differs(now: pl.DataFrame, before: pl.DataFrame) -> Array:
    """Which rows have another value in any column but the symbol."""
    differs = np.zeros(now.height, dtype=np.bool_)
    for name in now.columns:
        if name != "symbol":
            # NumPy (null is NaN) is faster here: Polars would run a query for each column.
            new, old = now[name].to_numpy(), before[name].to_numpy()
            differs |= (new != old) & ~(np.isnan(new) & np.isnan(old))
    return differs


def _chosen(rows: pl.DataFrame, wanted: Array) -> pl.DataFrame:
    return rows if not rows.height or wanted.all() else rows.filter(wanted)


def _no_sizes(count: int) -> Array:
    return np.full((count, len(SIZES)), np.nan)


def _joined(records: list[Array]) -> Array:
    """Records as one array; `np.concatenate` is slow on structured types."""
    joined = np.empty(sum(each.size for each in records), dtype=MINUTE)
    at = 0
    for each in records:
        joined[at : at + each.size] = each
        at += each.size
    return joined


def _rows_behind(symbol: Array) -> Array:
    """Number of later rows of the same symbol."""
    end = np.searchsorted(symbol, symbol, side="right")
    return end - 1 - np.arange(symbol.size)


def _padded(waiting: Waiting, symbols: int) -> Waiting:
    """The queue extended to `symbols` symbols; nothing waits for the new ones."""
    missing = symbols + 1 - waiting.offsets.size
    return waiting._replace(offsets=np.pad(waiting.offsets, (0, missing), mode="edge")) if missing else waiting


def _cut(waiting: Waiting) -> Waiting:
    """The queue without its unused room."""
    count = waiting.offsets[-1]
    return Waiting(waiting.offsets, *(column[:count].copy() for column in waiting[1:]))
