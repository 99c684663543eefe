"""Second and minute bars of a day under way, with revisions where late trades change them."""

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from tapewatch.bars import kernel
from tapewatch.bars.time_bars import bar_columns, built_bars
from tapewatch.market.arrays import Array, FlatTrades
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Session
from tapewatch.market.tables.live import LIVE_BARS
from tapewatch.market.tables.tape import SYMBOL, TIME

_FIELDS = kernel.FlatBars._fields
_VALUES = _FIELDS[2:]
_BAR = np.dtype(
    [(name, np.int64 if name in ("symbol", "start", "transactions") else np.float64) for name in _FIELDS]
    + [("revision", np.int64), ("is_withdrawn", np.bool_)]
)
_NO_BARS = LIVE_BARS.empty()
_NO_KEYS = _NO_BARS.select(LIVE_BARS.key)
_CLOCK = {width: pl.Series("clock", [name], SYMBOL) for width, name in ((NS_PER_SECOND, "1s"), (NS_PER_MINUTE, "1m"))}
_SOURCE = pl.Series("source", ["trades"], SYMBOL)


@dataclass(slots=True)
class _Minute:
    """A minute's last prices before its start and before `done`, up to which seconds are built, and its bars by width."""

    lasts: Array
    lasts_done: Array
    done: int
    bars: dict[int, Array] = field(default_factory=dict)


class LiveBars:
    """Builds bars minute by minute, and rebuilds those of some symbols; `take` returns what is new or changed.

    Symbols are numbered in the order of `begin`. The bars equal those of `time_bars` for the same trades.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._names = pl.Series("symbol", [], SYMBOL)
        self._lasts = np.full(0, np.nan)
        self._minutes: dict[int, _Minute] = {}
        self._next = session.day_start
        self._takes_part = np.zeros(0, dtype=np.bool_)
        self._emitted: dict[int, list[Array]] = {width: [] for width in _CLOCK}

    def begin(self, names: list[str]) -> None:
        """Add symbols."""
        self._names = pl.concat([self._names, pl.Series("symbol", names, SYMBOL)])
        room = np.full(len(names), np.nan)
        self._lasts = np.append(self._lasts, room)
        self._takes_part = np.append(self._takes_part, np.zeros(len(names), dtype=np.bool_))
        for minute in self._minutes.values():
            minute.lasts, minute.lasts_done = np.append(minute.lasts, room), np.append(minute.lasts_done, room)

    def pass_minute(self, start: int, trades: FlatTrades, until: int, again: Array | None = None) -> None:
        """Build a minute's bars up to `until`, and rebuild those of the symbols marked in `again`.

        `trades` are all trades of the minute so far. Seconds are built as they complete, the minute at its end.
        """
        minute = self._minute(start, again)
        again = np.zeros(len(self._names), dtype=np.bool_) if again is None else again
        self._lasts[again & ~self._takes_part] = minute.lasts[again & ~self._takes_part]
        self._takes_part |= again
        minute.lasts[again] = self._lasts[again]
        first, end = trades.offsets[:-1], trades.offsets[1:]
        built_to = kernel.rows_before(trades, minute.done)
        if again.any():
            lasts = minute.lasts.copy()
            self._enter(minute, NS_PER_SECOND, trades, first, np.where(again, built_to, first), lasts, again)
            minute.lasts_done[again] = lasts[again]
        if until > minute.done:
            ready = kernel.rows_before(trades, until)
            no_symbol = np.zeros_like(again)
            self._enter(minute, NS_PER_SECOND, trades, built_to, ready, minute.lasts_done, no_symbol)
            minute.done = until
        if until == start + NS_PER_MINUTE:
            # A late first minute between others only concerns its own symbols.
            is_next = start >= self._next
            self._next = max(self._next, until)
            lasts = minute.lasts.copy()
            chosen = again | is_next
            self._enter(
                minute, NS_PER_MINUTE, trades, first, np.where(chosen, end, first), lasts, again & (not is_next)
            )
            self._lasts = np.where(chosen, lasts, self._lasts)

    def _minute(self, start: int, again: Array | None) -> _Minute:
        if start not in self._minutes:
            later = [] if again is None else [at for at in self._minutes if at > start]
            lasts = self._minutes[min(later)].lasts if later else self._lasts
            self._minutes[start] = _Minute(lasts.copy(), lasts.copy(), start)
        return self._minutes[start]

    def _enter(
        self, minute: _Minute, width: int, trades: FlatTrades, first: Array, end: Array, lasts: Array, again: Array
    ) -> None:
        """Build bars, compare them with the earlier bars of the symbols marked in `again`, and keep what differs."""
        built = built_bars(trades, first, end, self._session, width, lasts)
        bars = np.zeros(built.symbol.size, dtype=_BAR)
        for name in _FIELDS:
            bars[name] = getattr(built, name)
        held = minute.bars.get(width, np.zeros(0, dtype=_BAR))
        emitted = bars
        if again.any():
            is_old = again[held["symbol"]]
            bars, emitted = self._compared(bars, held[is_old])
            held = held[~is_old]
        joined = np.concatenate([held, bars]) if held.size else bars
        minute.bars[width] = joined
        if emitted.size:
            self._emitted[width].append(emitted)

    def _compared(self, bars: Array, old: Array) -> tuple[Array, Array]:
        """All bars, with those that no longer exist marked as withdrawn, and the changed ones among them."""
        old = old[np.argsort(self._key(old), kind="stable")]
        old_key, key = self._key(old), self._key(bars)
        if not old.size:
            return bars, bars
        at = np.minimum(np.searchsorted(old_key, key), old.size - 1)
        was_there = old_key[at] == key
        is_other = np.any([bars[name] != old[name][at] for name in _VALUES], axis=0)
        differs = was_there & (is_other | old["is_withdrawn"][at])
        bars["revision"] = np.where(was_there, old["revision"][at] + differs, 0)
        gone = old[~np.isin(old_key, key)]
        is_news = ~gone["is_withdrawn"]
        # Kept, so that a bar that comes back has a later revision.
        gone["is_withdrawn"] = True
        gone["revision"] += is_news
        now = np.concatenate([bars, gone])
        return now, now[np.concatenate([differs | ~was_there, is_news])]

    def _key(self, bars: Array) -> Array:
        key: Array = bars["symbol"] << 32 | (bars["start"] - self._session.day_start) // NS_PER_SECOND
        return key

    def take(self, width: int, done_ns: int, known_ns: int) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Bars that are new or changed since the last call, as `LIVE_BARS`, and the keys of withdrawn ones.

        Args:
            width: of the bars, in nanoseconds.
            done_ns: the tape's time at the last call; a bar that ended by then is a late revision.
            known_ns: the tape's time now.
        """
        emitted, self._emitted[width] = self._emitted[width], []
        if not emitted:
            return _NO_BARS, _NO_KEYS
        bars = emitted[0] if len(emitted) == 1 else np.concatenate(emitted)
        built = kernel.FlatBars(*(np.ascontiguousarray(bars[name]) for name in _FIELDS))
        ends = built.start + width
        known = np.where(ends <= done_ns, known_ns, ends)
        symbol, *values = bar_columns(self._names, built)
        rows = pl.DataFrame(
            [
                symbol,
                _CLOCK[width].new_from_index(0, bars.size),
                values[0],
                pl.Series("known_time", known).cast(TIME),
                *values[1:],
                _SOURCE.new_from_index(0, bars.size),
                pl.Series("revision", bars["revision"].astype(np.int32)),
            ]
        )
        if not bars["is_withdrawn"].any():
            return rows, _NO_KEYS
        is_withdrawn = pl.Series(bars["is_withdrawn"].copy())
        return rows.filter(~is_withdrawn), rows.filter(is_withdrawn).select(LIVE_BARS.key)

    def end_sweep(self) -> None:
        """End a pass over late minutes: the next one starts from the last prices stored with its minutes."""
        self._takes_part[:] = False

    def forget(self, before: int) -> None:
        """Drop minutes that start before `before`; they can no longer be rebuilt."""
        for start in [start for start in self._minutes if start < before]:
            del self._minutes[start]
