"""A market's day as it arrives: bars and microstructure rows of complete time, revised when late ticks arrive."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from tapewatch.bars.information.live import LiveInformationBars
from tapewatch.bars.live import LiveBars
from tapewatch.features.online import OnlineMicrostructure
from tapewatch.market.arrays import Array
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Session
from tapewatch.market.tables.features import MARKET_MICROSTRUCTURE
from tapewatch.market.tables.live import LIVE_BARS, LIVE_INFORMATION_BARS, LIVE_MICROSTRUCTURE
from tapewatch.streaming.live.arrivals import Arrivals
from tapewatch.streaming.live.families import LiveFamilies
from tapewatch.streaming.live.identities import Identities
from tapewatch.streaming.live.indicators import LiveIndicators
from tapewatch.streaming.live.kept import Change
from tapewatch.streaming.live.market_minutes import LiveMarketMinutes
from tapewatch.streaming.live.tick_buffer import Columns, Found, QuoteBuffer, TradeBuffer

#: How late a tick may arrive and still count.
HORIZON_MINUTES = 20
#: Most ticks held; a busier tape has a shorter horizon.
MAX_TICKS = 4_000_000
#: Quotes of an unfinished minute that are summed as one part, so that its end does not delay the stream.
PART_TICKS = 50_000


@dataclass(frozen=True, slots=True)
class LiveRows:
    """New rows. A row emitted again, with a higher revision, replaces the one before.

    `withdrawn_*` are the keys (`symbol`, `clock`, `time` and `symbol`, `event_time`) of rows whose ticks were all withdrawn;
    such rows are to be deleted, those of `market_minutes` too. `changes` are those of further tables: the families of features, and
    the bars of other clocks.
    """

    second_bars: pl.DataFrame
    minute_bars: pl.DataFrame
    microstructure: pl.DataFrame
    withdrawn_bars: pl.DataFrame
    withdrawn_rows: pl.DataFrame
    market_minutes: pl.DataFrame
    changes: tuple[Change, ...] = ()


_NO_BARS, _NO_ROWS = LIVE_BARS.empty(), LIVE_MICROSTRUCTURE.empty()
_NOTHING_NEW = LiveRows(
    _NO_BARS,
    _NO_BARS,
    _NO_ROWS,
    _NO_BARS.select(LIVE_BARS.key),
    _NO_ROWS.select(LIVE_MICROSTRUCTURE.key),
    MARKET_MICROSTRUCTURE.empty(),
)


@dataclass(slots=True)
class _TickMinute:
    """A minute's ticks; those before `done` are summed."""

    done: int
    trades: TradeBuffer = field(default_factory=TradeBuffer)
    quotes: QuoteBuffer = field(default_factory=QuoteBuffer)

    @property
    def count(self) -> int:
        return self.trades.count + self.quotes.count


class LiveTape:
    """One market's day, fed with the rows of a stream.

    At the day's end the last revisions equal the rows of `time_bars`, `minute_bars` and `microstructure` for the same tape,
    bit for bit, however the tape was cut and in whatever order it arrived within the horizon. Of several copies of a tick
    the last to arrive counts (see `market.copies`). Ticks without identity all count, at one instant in order of arrival.

    Args:
        symbols: symbols that have rows even without ticks. Others join with their first tick, and then get the rows that
            they lack so far.
        horizon_minutes: how late a tick or correction may arrive.
        max_ticks: most ticks held; with more, the horizon shrinks.
        part_ticks: quotes of a minute that are summed as one part.
        emit_from_ns: earlier rows and bars are computed but not emitted: for a tape that is played back first.
        families: computes the rows of further tables; None for none.
        information: builds the bars of other clocks; None for none.

    Attributes:
        last_time_ns: the latest event time seen, 0 before the first.
        duplicates: ticks that repeated another, counted when their minute is next sorted.
        corrections: ticks that replaced another of different content, likewise.
        market_minutes: the rows of `market_microstructure`, which take scores too.
        too_late: ticks older than the horizon, left out.
        outside_day: ticks of another day, left out.
    """

    def __init__(
        self,
        session: Session,
        *,
        symbols: Sequence[str] = (),
        horizon_minutes: int = HORIZON_MINUTES,
        max_ticks: int = MAX_TICKS,
        part_ticks: int = PART_TICKS,
        emit_from_ns: int | None = None,
        families: LiveFamilies | None = None,
        information: LiveInformationBars | None = None,
    ) -> None:
        self.session = session
        self.last_time_ns = self.duplicates = self.corrections = self.too_late = self.outside_day = 0
        self._horizon_ns = horizon_minutes * NS_PER_MINUTE
        self._max_ticks = max_ticks
        self._part_ticks = part_ticks
        self._emit_from = session.day_start if emit_from_ns is None else emit_from_ns
        self._arrivals = Arrivals(session)
        self._arrivals.symbols.add(list(symbols))
        self._seen = {"trades": Identities(), "quotes": Identities()}
        self._bars = LiveBars(session)
        has_more = families is not None and families.has_more
        self._rows = OnlineMicrostructure(session, horizon_minutes=horizon_minutes, has_more=has_more)
        self._indicators = LiveIndicators(session)
        self.market_minutes = LiveMarketMinutes(session)
        self._families, self.information = families, information
        self._known = 0
        self._minutes: dict[int, _TickMinute] = {}
        self._late: dict[int, list[Array]] = {}
        # Minutes before `_next` are summed, seconds before `_seconds_done` built; nothing changes before `_oldest`.
        self._next = self._seconds_done = self._oldest = session.day_start

    @property
    def held_ticks(self) -> int:
        return sum(minute.count for minute in self._minutes.values())

    def push(self, trades: pl.DataFrame | None = None, quotes: pl.DataFrame | None = None) -> None:
        """Add `STREAM_TRADES` and `STREAM_QUOTES` rows in order of arrival."""
        if trades is not None and trades.height:
            self._take("trades", *self._arrivals.trades(trades))
        if quotes is not None and quotes.height:
            self._take("quotes", *self._arrivals.quotes(quotes))

    def advance(self, through_ns: int) -> LiveRows:
        """The rows that end by `through_ns` and are new or have changed since the last call.

        Nothing is emitted between whole seconds: on a busy tape some tick is always late.
        """
        through = min(through_ns, self.session.day_end)
        seconds = max(self._seconds_done, through - (through - self.session.day_start) % NS_PER_SECOND)
        is_closing = seconds == self.session.day_end and self._late
        if seconds == self._seconds_done and not is_closing:
            return _NOTHING_NEW
        whole = max(self._next, through - (through - self.session.day_start) % NS_PER_MINUTE)
        self._sweep(whole, seconds)
        done, self._next, self._seconds_done = self._seconds_done, whole, seconds
        self._forget()
        second_bars, gone_seconds = self._bars.take(NS_PER_SECOND, done, seconds)
        minute_bars, gone_minutes = self._bars.take(NS_PER_MINUTE, done, seconds)
        rows = self._rows.take_rows()
        indicators = self._indicators.update(minute_bars, gone_minutes)
        market_minutes = self.market_minutes.update(indicators, rows.rows, rows.withdrawn)
        changes = self._information_bars(done, seconds)
        if self._families is not None:
            changes += self._families.update(rows, indicators, minute_bars, gone_minutes, seconds)
            self._families.forget(self._oldest)
        self._indicators.forget(self._oldest)
        return LiveRows(
            self._due(second_bars, "time"),
            self._due(minute_bars, "time"),
            self._due(rows.rows, "event_time"),
            self._due(pl.concat([gone_seconds, gone_minutes]) if gone_minutes.height else gone_seconds, "time"),
            self._due(rows.withdrawn, "event_time"),
            self._due(market_minutes, "event_time"),
            tuple(self._due_of(change) for change in changes),
        )

    def close(self) -> LiveRows:
        """The rows up to the day's end."""
        return self.advance(self.session.day_end)

    def _take(self, kind: str, columns: Columns, is_known: Array) -> None:
        time = columns[1]
        self.last_time_ns = max(self.last_time_ns, int(time.max()))
        if time.min() < self._oldest or time.max() >= self.session.day_end:
            is_due = (time >= self._oldest) & (time < self.session.day_end)
            is_of_day = (time >= self.session.day_start) & (time < self.session.day_end)
            self.outside_day += int((~is_of_day).sum())
            self.too_late += int((is_of_day & ~is_due).sum())
            columns, is_known = tuple(column[is_due] for column in columns), is_known[is_due]
        symbol, time, number = columns[:3]
        if not time.size:
            return
        if kind == "trades":
            # Trades may share a number.
            number = number ^ columns[-1]
        before = self._seen[kind].enter(symbol, number, time, is_known)
        has_moved = (before != time) & (before >= self._oldest)
        self._file(kind, _with_removals(columns, before, has_moved) if has_moved.any() else columns)

    def _file(self, kind: str, columns: Columns) -> None:
        """Add ticks to their minutes, and note those that change emitted rows."""
        time = columns[1]
        first, last = (at - (at - self.session.day_start) % NS_PER_MINUTE for at in (int(time.min()), int(time.max())))
        if first == last:
            self._add(kind, first, columns)
            return
        for start in range(first, last + 1, NS_PER_MINUTE):
            chosen = np.flatnonzero((time >= start) & (time < start + NS_PER_MINUTE))
            if chosen.size:
                self._add(kind, start, tuple(column.take(chosen) for column in columns))

    def _add(self, kind: str, start: int, columns: Columns) -> None:
        minute = self._minutes.setdefault(start, _TickMinute(start))
        (minute.trades if kind == "trades" else minute.quotes).add(columns)
        done = max(minute.done, self._seconds_done if kind == "trades" else start)
        if start < self._next or start < done:
            is_late = columns[1] < max(done, self._next)
            if is_late.any():
                self._late.setdefault(start, []).append(columns[0][is_late])

    def _sweep(self, whole: int, seconds: int) -> None:
        """Sum minutes up to `whole`, those with late ticks again, and build the seconds up to `seconds`."""
        again = np.zeros(len(self._arrivals.symbols.names), dtype=np.bool_)
        self._begin_symbols(again)
        late, self._late = self._late, {}
        first = min(late, default=self._next)
        if again.any():
            first = min(self._minutes, default=first)
        for start in self._starts(min(first, self._next), whole, seconds):
            minute = self._minutes.setdefault(start, _TickMinute(start))
            if start in late:
                again[np.concatenate(late[start])] = True
            self._count(minute.trades.settle(self._known))
            now_again = again if again.any() else None
            for bars in self._builders():
                bars.pass_minute(start, minute.trades.flat(), min(seconds, start + NS_PER_MINUTE), now_again)
            self._pass_parts(start, minute, now_again, min(seconds, start + NS_PER_MINUTE))
        for bars in self._builders():
            bars.end_sweep()

    def _pass_parts(self, start: int, minute: _TickMinute, again: Array | None, until: int) -> None:
        """Sum a minute: its earlier parts again where they changed, and the next part if it is due."""
        trades, since = minute.trades.flat(), start
        if minute.done > start and again is not None:
            self._count(minute.quotes.settle_late(self._known, minute.done))
            for quotes, end in minute.quotes.parts(self._known):
                self._rows.pass_part(start, trades, quotes, since, end, again)
                since = end
        is_whole = until == start + NS_PER_MINUTE
        if until > minute.done and (is_whole or minute.quotes.waiting >= self._part_ticks):
            self._count(minute.quotes.settle(self._known, until))
            quotes, _ = minute.quotes.parts(self._known)[-1]
            # A late minute between others changes its own symbols only.
            self._rows.pass_part(start, trades, quotes, minute.done, until, again if start < self._next else None)
            minute.done = until

    def _count(self, found: Found) -> None:
        self.duplicates += found.repeats
        self.corrections += found.corrections

    def _begin_symbols(self, again: Array) -> None:
        """Add the symbols that are new since the last sweep, from the day's start on."""
        names = self._arrivals.symbols.names[self._known :]
        if not names:
            return
        silent = np.arange(self.session.regular_start, min(self._oldest, self.session.regular_end), NS_PER_MINUTE)
        self._rows.begin(names, silent)
        for bars in self._builders():
            bars.begin(names)
        again[self._known :] = self._oldest < self._next
        self._known += len(names)

    def _starts(self, first: int, whole: int, seconds: int) -> list[int]:
        """The minutes of a sweep in order: those with ticks, silent regular ones, and the current one."""
        end = whole + NS_PER_MINUTE if seconds > whole else whole
        ticked = {start for start in self._minutes if first <= start < end}
        silent = range(max(self._next, self.session.regular_start), min(whole, self.session.regular_end), NS_PER_MINUTE)
        return sorted(ticked.union(silent))

    def _forget(self) -> None:
        """Remove minutes beyond the horizon."""
        oldest, held = max(self._oldest, self._next - self._horizon_ns), self.held_ticks
        for start in sorted(start for start in self._minutes if start < self._next):
            if start >= oldest and held <= self._max_ticks:
                break
            held -= self._minutes.pop(start).count
            oldest = max(oldest, start + NS_PER_MINUTE)
        self._oldest = oldest
        for bars in self._builders():
            bars.forget(oldest)
        self._rows.forget(oldest)
        for kind in self._seen.values():
            kind.forget(oldest)

    def _builders(self) -> tuple[LiveBars | LiveInformationBars, ...]:
        return (self._bars,) if self.information is None else (self._bars, self.information)

    def _information_bars(self, done: int, seconds: int) -> tuple[Change, ...]:
        if self.information is None:
            return ()
        change = Change(LIVE_INFORMATION_BARS, *self.information.take(done, seconds))
        return (change,) if change else ()

    def _due_of(self, change: Change) -> Change:
        if change.table is LIVE_INFORMATION_BARS:
            return Change(change.table, self._due(change.rows, "end_time"), change.withdrawn)
        return Change(change.table, self._due(change.rows, "event_time"), self._due(change.withdrawn, "event_time"))

    def _due(self, frame: pl.DataFrame, time: str) -> pl.DataFrame:
        if self._emit_from <= self.session.day_start or not frame.height:
            return frame
        return frame.filter(pl.col(time).to_physical() >= self._emit_from)


def _with_removals(columns: Columns, before: Array, has_moved: Array) -> Columns:
    """The ticks, with a removal at the time `before` ahead of each tick that has moved."""
    moved = np.flatnonzero(has_moved)
    symbol, _, number, _, *values = (column[moved] for column in columns)
    removals = (symbol, before[moved], number, np.ones(moved.size, dtype=np.bool_), *values)
    at = np.concatenate([2 * moved, 2 * np.arange(has_moved.size) + 1])
    order = np.argsort(at, kind="stable")
    return tuple(np.concatenate(pair)[order] for pair in zip(removals, columns, strict=True))
