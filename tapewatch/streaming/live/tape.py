"""A market's day as it comes in: bars and microstructure rows of what is complete, put right when late ticks arrive."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from tapewatch.bars.live import LiveBars
from tapewatch.features.online import OnlineMicrostructure
from tapewatch.market.arrays import Array
from tapewatch.market.conditions import STOCK_UPDATE_RULES, Updates
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Session
from tapewatch.market.live_tables import LIVE_BARS, LIVE_MICROSTRUCTURE
from tapewatch.streaming.live.arrivals import Arrivals
from tapewatch.streaming.live.identities import Identities
from tapewatch.streaming.live.tick_buffer import Columns, Found, QuoteBuffer, TradeBuffer

#: How far behind the tape's present ticks may come and still count.
HORIZON_MINUTES = 20
#: Ticks held at most; a busier tape has a shorter horizon.
MAX_TICKS = 4_000_000
#: So many quotes of a minute under way are summed before it ends, so that its end does not hold up the stream.
PART_TICKS = 50_000


@dataclass(frozen=True, slots=True)
class LiveRows:
    """What became known. A row that comes again, its revision raised, replaces the one before.

    `withdrawn_*` are keys (`symbol`, `clock`, `time` and `symbol`, `event_time`) of rows whose every tick was taken back:
    they are no more, as the finished day's table lacks them.
    """

    second_bars: pl.DataFrame
    minute_bars: pl.DataFrame
    microstructure: pl.DataFrame
    withdrawn_bars: pl.DataFrame
    withdrawn_rows: pl.DataFrame


_NO_BARS, _NO_ROWS = LIVE_BARS.empty(), LIVE_MICROSTRUCTURE.empty()
#: When nothing became known.
NOTHING_NEW = LiveRows(
    _NO_BARS, _NO_BARS, _NO_ROWS, _NO_BARS.select(LIVE_BARS.key), _NO_ROWS.select(LIVE_MICROSTRUCTURE.key)
)


@dataclass(slots=True)
class _TickMinute:
    """A minute's ticks, and the time before which they are summed."""

    done: int
    trades: TradeBuffer = field(default_factory=TradeBuffer)
    quotes: QuoteBuffer = field(default_factory=QuoteBuffer)

    @property
    def count(self) -> int:
        return self.trades.count + self.quotes.count


class LiveTape:
    """One market's day, fed with what a stream delivers.

    At the day's end the last revisions are the rows of `time_bars`, `minute_bars` and `microstructure` for the same tape,
    bit for bit, whatever the pieces in which it came and their order within the horizon. A tick's identity is its symbol and
    sequence number, that of a crypto trade its symbol, exchange and id; of two with one identity the later arrival
    counts. Ticks without identity all count, those of one instant in the order of arrival.

    Args:
        session: the day.
        symbols: symbols watched: they have rows whether or not anything comes. Others join when their first tick
            comes, with the rows that they lack so far.
        horizon_minutes: how late a tick or correction may come.
        max_ticks: ticks held at most; where minutes bring more, the horizon shrinks.
        part_ticks: quotes of a minute that make a part of it.
        emit_from_ns: rows and bars that start earlier are computed, not given out: for a tape that is played back first.
        rules: condition code to allowed fields, for stocks.

    Attributes:
        last_time_ns: the latest event time seen, 0 before the first.
        duplicates: ticks that repeated one, counted when their minute is next put in order.
        corrections: ticks that replaced one of other content, likewise.
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
        rules: Mapping[int, Updates] = STOCK_UPDATE_RULES,
    ) -> None:
        self.session = session
        self.last_time_ns = self.duplicates = self.corrections = self.too_late = self.outside_day = 0
        self._horizon_ns = horizon_minutes * NS_PER_MINUTE
        self._max_ticks = max_ticks
        self._part_ticks = part_ticks
        self._emit_from = session.day_start if emit_from_ns is None else emit_from_ns
        self._arrivals = Arrivals(session, rules)
        self._arrivals.symbols.add(list(symbols))
        self._seen = {"trades": Identities(), "quotes": Identities()}
        self._bars = LiveBars(session)
        self._rows = OnlineMicrostructure(session, horizon_minutes=horizon_minutes)
        self._known = 0
        self._minutes: dict[int, _TickMinute] = {}
        self._late: dict[int, list[Array]] = {}
        # Minutes before `_next` are passed, seconds before `_seconds_done` built; nothing changes before `_oldest`.
        self._next = self._seconds_done = self._oldest = session.day_start

    @property
    def held_ticks(self) -> int:
        """Ticks in memory."""
        return sum(minute.count for minute in self._minutes.values())

    def push(self, trades: pl.DataFrame | None = None, quotes: pl.DataFrame | None = None) -> None:
        """Take `STREAM_TRADES` and `STREAM_QUOTES` rows in the order of arrival."""
        if trades is not None and trades.height:
            self._take("trades", *self._arrivals.trades(trades))
        if quotes is not None and quotes.height:
            self._take("quotes", *self._arrivals.quotes(quotes))

    def advance(self, through_ns: int) -> LiveRows:
        """Everything that ends by `through_ns` and was not given out; with each further second, all that has changed.

        Between whole seconds nothing is given out: on a busy tape some tick is always late.
        """
        through = min(through_ns, self.session.day_end)
        seconds = max(self._seconds_done, through - (through - self.session.day_start) % NS_PER_SECOND)
        is_closing = seconds == self.session.day_end and self._late
        if seconds == self._seconds_done and not is_closing:
            return NOTHING_NEW
        whole = max(self._next, through - (through - self.session.day_start) % NS_PER_MINUTE)
        self._sweep(whole, seconds)
        done, self._next, self._seconds_done = self._seconds_done, whole, seconds
        self._forget()
        second_bars, gone_seconds = self._bars.take(NS_PER_SECOND, done, seconds)
        minute_bars, gone_minutes = self._bars.take(NS_PER_MINUTE, done, seconds)
        rows, gone_rows = self._rows.take_rows()
        return LiveRows(
            self._due(second_bars, "time"),
            self._due(minute_bars, "time"),
            self._due(rows, "event_time"),
            self._due(pl.concat([gone_seconds, gone_minutes]) if gone_minutes.height else gone_seconds, "time"),
            self._due(gone_rows, "event_time"),
        )

    def close(self) -> LiveRows:
        """Everything up to the day's end."""
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
        before = self._seen[kind].enter(symbol, number, time, is_known)
        has_moved = (before != time) & (before >= self._oldest)
        self._file(kind, _with_removals(columns, before, has_moved) if has_moved.any() else columns)

    def _file(self, kind: str, columns: Columns) -> None:
        """Put ticks to their minutes, and note those that change what was given out."""
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
        """Pass minutes up to `whole`, the late ones again, and build the seconds up to `seconds`."""
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
            self._bars.pass_minute(start, minute.trades.flat(), min(seconds, start + NS_PER_MINUTE), now_again)
            self._pass_parts(start, minute, now_again, min(seconds, start + NS_PER_MINUTE))
        self._bars.end_sweep()

    def _pass_parts(self, start: int, minute: _TickMinute, again: Array | None, until: int) -> None:
        """Sum up a minute: the parts passed before once more where they changed, and the next one if it is due."""
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
            # A minute that turns up between others concerns none but its own symbols.
            self._rows.pass_part(start, trades, quotes, minute.done, until, again if start < self._next else None)
            minute.done = until

    def _count(self, found: Found) -> None:
        self.duplicates += found.repeats
        self.corrections += found.corrections

    def _begin_symbols(self, again: Array) -> None:
        """Let symbols met since the last sweep take part, from the day's start on."""
        names = self._arrivals.symbols.names[self._known :]
        if not names:
            return
        silent = np.arange(self.session.regular_start, min(self._oldest, self.session.regular_end), NS_PER_MINUTE)
        self._rows.begin(names, silent)
        self._bars.begin(names)
        again[self._known :] = self._oldest < self._next
        self._known += len(names)

    def _starts(self, first: int, whole: int, seconds: int) -> list[int]:
        """The minutes of a sweep in order: those with ticks, silent regular ones, and the one under way."""
        end = whole + NS_PER_MINUTE if seconds > whole else whole
        ticked = {start for start in self._minutes if first <= start < end}
        silent = range(max(self._next, self.session.regular_start), min(whole, self.session.regular_end), NS_PER_MINUTE)
        return sorted(ticked.union(silent))

    def _forget(self) -> None:
        """Let go of minutes beyond the horizon."""
        oldest, held = max(self._oldest, self._next - self._horizon_ns), self.held_ticks
        for start in sorted(start for start in self._minutes if start < self._next):
            if start >= oldest and held <= self._max_ticks:
                break
            held -= self._minutes.pop(start).count
            oldest = max(oldest, start + NS_PER_MINUTE)
        self._oldest = oldest
        self._bars.forget(oldest)
        self._rows.forget(oldest)
        for kind in self._seen.values():
            kind.forget(oldest)

    def _due(self, frame: pl.DataFrame, time: str) -> pl.DataFrame:
        if self._emit_from <= self.session.day_start or not frame.height:
            return frame
        return frame.filter(pl.col(time).to_physical() >= self._emit_from)


def _with_removals(columns: Columns, before: Array, has_moved: Array) -> Columns:
    """The ticks, each that has moved behind one that takes it out of the place that it had at the time `before`."""
    moved = np.flatnonzero(has_moved)
    symbol, _, number, _, *values = (column[moved] for column in columns)
    removals = (symbol, before[moved], number, np.ones(moved.size, dtype=np.bool_), *values)
    at = np.concatenate([2 * moved, 2 * np.arange(has_moved.size) + 1])
    order = np.argsort(at, kind="stable")
    return tuple(np.concatenate(pair)[order] for pair in zip(removals, columns, strict=True))
