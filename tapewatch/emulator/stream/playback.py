"""A market's tape as a stream: its days, and the position, progress and faults of each key."""

import datetime as dt
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import polars as pl

from tapewatch.emulator.faults import ActiveFaults, FaultTriggers
from tapewatch.emulator.stream import message_faults
from tapewatch.emulator.stream.blocks import Block, blocks
from tapewatch.emulator.stream.channels import Day
from tapewatch.emulator.stream.pace import ReplayClock, Speed
from tapewatch.emulator.tape.market_tape import MarketTape
from tapewatch.emulator.vendor.gate import Gate
from tapewatch.emulator.vendor.times import date_of
from tapewatch.market.instruments import Market, Partition, session_of, trading_days

#: Stands for all symbols of a channel.
EVERY = "*"
_LOOK_BACK, _DAY = dt.timedelta(days=10), dt.timedelta(days=1)

#: Symbols by channel, in this platform's spelling; `EVERY` for all.
Subscription = Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """The day and time (ns UTC) up to which the tape was sent."""

    date: dt.date
    ns: int


#: Before anything was sent.
START = Position(dt.date.min, 0)


@dataclass(frozen=True, slots=True)
class Replay:
    first: dt.date
    last: dt.date

    @classmethod
    def parse(cls, text: str) -> "Replay":
        """Days from the command line: `2024-03-05` or `2024-03-05:2024-03-07`.

        Raises:
            ValueError: the text names no days, or the last precedes the first.
        """
        first, _, last = text.partition(":")
        try:
            replay = cls(dt.date.fromisoformat(first), dt.date.fromisoformat(last or first))
        except ValueError:
            raise ValueError(f"the days {text!r} are not FIRST or FIRST:LAST, as 2024-03-05:2024-03-07") from None
        if replay.last < replay.first:
            raise ValueError(f"the days {text!r} end before they begin")
        return replay


@dataclass
class Playback:
    """One market's stream.

    `positions`, `done` and `repeat_from` are by key: how far it was sent, whether it received the tape's end, and where to
    continue if it reconnects after that (without effect on a stream that follows a clock).
    """

    market: Market
    tape: MarketTape
    gate: Gate
    speed: Speed
    replay: Replay | None
    faults: ActiveFaults
    positions: dict[str, Position] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    done: set[str] = field(default_factory=set)
    repeat_from: dict[str, Position] = field(default_factory=dict)

    @property
    def is_live(self) -> bool:
        """Whether the present is streamed, without an end."""
        return self.replay is None and self.speed.times == 1 and self.tape.last_day(self.market) is None

    @cached_property
    def days(self) -> Sequence[dt.date]:
        """The replayed days; empty if the present is streamed."""
        return [] if self.is_live else self._chosen()

    @cached_property
    def clock(self) -> ReplayClock:
        """The tape's clock, for speeds that are multiples of real time."""
        sessions = [session for day in self.days if (session := session_of(self.market, day)) is not None]
        return ReplayClock(sessions, self.speed.times or 1.0, lambda: self.gate.now)

    @property
    def connection_faults(self) -> FaultTriggers:
        return self.faults.connection[self.market]

    def resume(self, key: str) -> Position:
        """Where a key's stream continues when it subscribes: at the clock's time, or where the key left it."""
        if self.speed.times is None:
            return self.repeat_from.pop(key, self.positions.get(key, START))
        is_first = not self.clock.is_running
        self.clock.start()
        # Rows before the first session's hours are sent late rather than skipped.
        return START if is_first and not self.is_live else self.at(self.clock.now)

    def at(self, ns: int) -> Position:
        """The position at a time of the tape."""
        if self.is_live:
            return Position(date_of(ns, self.market), ns)
        earlier = [day for day in self.days if (s := session_of(self.market, day)) and s.day_start <= ns]
        return Position(earlier[-1] if earlier else dt.date.min, ns)

    def lag(self, key: str) -> int:
        """The delay of a key's plan in ns; 0 for a replay."""
        return self.gate.stream_delay_ns(key, self.market) if self.is_live else 0

    def lose(self, key: str, milliseconds: int) -> None:
        """Skip some of the tape for a key."""
        position = self.positions.get(key)
        if position is not None and self.speed.times is None:
            self.positions[key] = replace(position, ns=position.ns + milliseconds * 1_000_000)

    def moved(self, key: str, position: Position, events: int) -> None:
        self.positions[key] = position
        self.sent += events

    def position_ns(self, key: str | None = None) -> int | None:
        """The latest time sent to a key, or to any; None before the first message."""
        return max((at.ns for of, at in self.positions.items() if key in (None, of)), default=None)

    def is_done(self, key: str | None = None) -> bool:
        """Whether a key, or any, has received the tape's end."""
        return bool(self.done) if key is None else key in self.done

    def stream(self, subscription: Subscription, after: Position) -> Iterator[tuple[dt.date, Block]]:
        """Blocks of the subscribed channels from a position to the end of the tape, built lazily."""
        for date in self._from(after.date):
            frames = {
                channel: self._rows(date, channel, symbols) for channel, symbols in subscription.items() if symbols
            }
            for block in blocks(frames, self.market, after.ns if date == after.date else None):
                yield date, block

    def _from(self, first: dt.date) -> Iterator[dt.date]:
        """The days from `first` on; endless if the present is streamed."""
        if not self.is_live:
            yield from (day for day in self.days if day >= first)
            return
        today = date_of(self.gate.now, self.market)
        for offset in itertools.count():
            if session_of(self.market, day := max(first, today) + dt.timedelta(days=offset)) is not None:
                yield day

    def _rows(self, date: dt.date, channel: str, symbols: frozenset[str]) -> pl.DataFrame:
        """A channel's rows of a day, with those of earlier days that faults delay into it and without those delayed beyond it."""
        rows, late = self._made(date, channel, symbols), self._delayed_into(date)
        after = self._after(date) if self._longest_delay_ns else None
        if not late and after is None:
            return rows
        release = pl.col("_release").to_physical()
        parts = [self._made(day, channel, symbols).filter(release >= _start(self.market, date)) for day in late]
        parts = [part for part in (*parts, rows) if part.height]
        if after is not None:
            parts = [part.filter(release < _start(self.market, after)) for part in parts]
        return pl.concat(parts).sort("_release", maintain_order=True) if parts else rows

    @property
    def _longest_delay_ns(self) -> int:
        return message_faults.longest_delay_ns(self.faults.messages(self.market))

    def _delayed_into(self, date: dt.date) -> list[dt.date]:
        """The earlier days with messages that faults may delay into a day, oldest first."""
        delay, start = self._longest_delay_ns, _start(self.market, date)
        first = date - dt.timedelta(microseconds=delay // 1_000) - _DAY
        days = trading_days(self.market, first, date - _DAY) if delay else []
        return [day for day in days if Partition(day, self.market).session.day_end + delay > start and self._plays(day)]

    def _after(self, date: dt.date) -> dt.date | None:
        """The next day of the tape."""
        if self.is_live:
            return trading_days(self.market, date + _DAY, date + _LOOK_BACK)[0]
        return next((day for day in self.days if day > date), None)

    def _plays(self, date: dt.date) -> bool:
        return self.is_live or date in self.days

    def _made(self, date: dt.date, channel: str, symbols: frozenset[str]) -> pl.DataFrame:
        chosen = self.tape.symbols_on(self.market, date) if EVERY in symbols else sorted(symbols)
        day = Day(self.tape, Partition(date, self.market).session, chosen)
        return message_faults.rows(day, channel, self.faults.messages(self.market))

    def _chosen(self) -> list[dt.date]:
        recorded = self.tape.days(self.market)
        today = date_of(self.gate.now, self.market)
        if self.replay is not None:
            days = trading_days(self.market, self.replay.first, self.replay.last)
        elif recorded is not None:
            days = recorded
        else:
            days = trading_days(self.market, today - _LOOK_BACK, today - dt.timedelta(days=1))[-1:]
        return days if recorded is None else [day for day in days if day in set(recorded)]


def _start(market: Market, date: dt.date) -> int:
    return Partition(date, market).session.day_start
