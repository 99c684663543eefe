"""Finds holes in a stream's rows: skipped sequence numbers, and bars with more volume than the trades received."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from tapewatch.market.copies import HAS_NUMBER
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND

#: Consecutive numbers with one constant step, after which a skipped number counts as missing.
PROVEN_AFTER = 500
#: How late, on the tape's clock, a skipped number or a trade of a minute may still arrive.
_LATENESS_NS = 10 * NS_PER_SECOND
#: Number of missing sequence numbers to wait for. It bounds the memory: one wrong number may skip billions.
_MOST_SKIPPED = 100_000
_ROUNDING = 1e-6
_KEPT_MINUTES = 20


@dataclass(frozen=True, slots=True)
class Hole:
    """A stretch of one symbol's tape in which rows are missing; int64 ns UTC."""

    symbol: str
    channel: str
    start: int
    end: int
    reason: str


@dataclass(slots=True)
class _Numbering:
    """One symbol's sequence numbers: the last, its time, their step, and the count of consecutive ones."""

    last: int
    time: int
    step: int = 0
    run: int = 1


@dataclass(slots=True)
class _Skipped:
    """Missing numbers, and the times of the rows before and after them."""

    numbers: set[int]
    start: int
    end: int


@dataclass(slots=True)
class _MinuteVolume:
    volume: float = 0.0
    stated: float | None = None
    is_judged: bool = False

    @property
    def excess(self) -> float:
        """Volume received minus the bar's volume; negative where trades are missing."""
        return self.volume - (self.stated or 0.0)


@dataclass
class HoleFinder:
    """Finds the holes of one market from its batches, in order of arrival.

    A skipped number is a hole if the symbol's numbers rose by one constant step over `PROVEN_AFTER` rows. Other symbols'
    numbers are ignored: a tape may number across symbols. A minute is a hole if the vendor's bar has more volume than the
    minute's trades together. Surplus volume of the next minute counts towards it: vendors put a closing auction, or trades
    that set no price, into the bar before. A symbol without any trade is ignored: its trades may not be subscribed.
    """

    _numbers: dict[str, _Numbering] = field(default_factory=dict, init=False)
    _skipped: dict[str, list[_Skipped]] = field(default_factory=dict, init=False)
    _minutes: dict[tuple[str, int], _MinuteVolume] = field(default_factory=dict, init=False)
    _first_minutes: dict[str, int] = field(default_factory=dict, init=False)
    _judged_minute: int = field(default=0, init=False)
    _newest: int = field(default=0, init=False)

    def see(self, trades: pl.DataFrame, bars: pl.DataFrame) -> list[Hole]:
        """Add a batch (`STREAM_TRADES`, `STREAM_BARS`); returns the holes that have become certain, each once."""
        if trades.height:
            self._newest = max(self._newest, int(trades["time"].to_physical().max()))  # type: ignore[arg-type]
            self._see_numbers(trades)
            self._see_volumes(trades)
        if bars.height:
            self._see_bars(bars)
        return [*self._certain_skips(), *self._certain_minutes()]

    def reset(self) -> None:
        """Reset after an interruption, which is recorded as a gap of its own."""
        self._numbers.clear()
        self._skipped.clear()
        self._minutes.clear()
        self._first_minutes.clear()

    def _see_numbers(self, trades: pl.DataFrame) -> None:
        numbered = trades.filter(HAS_NUMBER)
        # Several trades may share a number.
        number = pl.col("sequence_number").unique().sort()
        found = numbered.group_by(pl.col("symbol").cast(pl.String)).agg(
            low=number.first(),
            high=number.last(),
            least=number.diff().min(),
            most=number.diff().max(),
            count=pl.col("sequence_number").n_unique(),
            first_time=pl.col("time").to_physical().min(),
            last_time=pl.col("time").to_physical().max(),
        )
        for symbol, low, high, least, most, count, first_time, last_time in found.iter_rows():
            known = self._numbers.get(symbol)
            if known is None:
                is_even = least is not None and least == most
                self._numbers[symbol] = _Numbering(high, last_time, least if is_even else 0, count if is_even else 1)
                continue
            step = known.step or low - known.last
            if step > 0 and low == known.last + step and (least is None or least == most == step):
                self._numbers[symbol] = _Numbering(high, last_time, step, known.run + count)
            elif known.run >= PROVEN_AFTER and known.step > 0:
                rows = numbered.filter(pl.col("symbol").cast(pl.String) == symbol)
                self._note_skips(symbol, known, rows, max(high, known.last), last_time)
            else:
                self._numbers[symbol] = _Numbering(high, max(last_time, first_time))

    def _note_skips(self, symbol: str, known: _Numbering, rows: pl.DataFrame, high: int, last_time: int) -> None:
        """Record the numbers that a batch skipped; remove those that it delivered late."""
        received = rows.unique("sequence_number").sort("sequence_number")
        numbers, times = received["sequence_number"].to_numpy(), received["time"].to_physical().to_numpy()
        waiting = self._skipped.setdefault(symbol, [])
        for skipped in waiting:
            skipped.numbers.difference_update(numbers.tolist())
        fresh = numbers > known.last
        chain, at = np.append(known.last, numbers[fresh]), np.append(known.time, times[fresh])
        for place in np.flatnonzero(np.diff(chain) > known.step).tolist():
            between = set(range(int(chain[place]) + known.step, int(chain[place + 1]), known.step)[:_MOST_SKIPPED])
            waiting.append(_Skipped(between, int(at[place]), int(at[place + 1])))
        self._numbers[symbol] = _Numbering(high, max(known.time, last_time), known.step, known.run + len(received))

    def _see_volumes(self, trades: pl.DataFrame) -> None:
        minute = (pl.col("time").to_physical() // NS_PER_MINUTE).alias("minute")
        volumes = trades.group_by(pl.col("symbol").cast(pl.String), minute).agg(pl.col("size").sum())
        for symbol, at, volume in volumes.iter_rows():
            # The minute of a symbol's first trade may be incomplete.
            self._first_minutes.setdefault(symbol, at)
            self._minutes.setdefault((symbol, at), _MinuteVolume()).volume += volume

    def _see_bars(self, bars: pl.DataFrame) -> None:
        minutes = bars.filter(pl.col("clock").cast(pl.String) == "1m")
        stated = minutes.select(
            pl.col("symbol").cast(pl.String), pl.col("time").to_physical() // NS_PER_MINUTE, "volume"
        )
        for symbol, at, volume in stated.iter_rows():
            if at > self._first_minutes.get(symbol, at):
                minute = self._minutes.setdefault((symbol, at), _MinuteVolume())
                minute.stated, minute.is_judged = volume, False

    def _certain_skips(self) -> Iterator[Hole]:
        for symbol, waiting in list(self._skipped.items()):
            late = [skipped for skipped in waiting if skipped.numbers and skipped.end + _LATENESS_NS < self._newest]
            for skipped in late:
                reason = f"{len(skipped.numbers)} sequence number(s) skipped, from {min(skipped.numbers)}"
                yield Hole(symbol, "trades", skipped.start, skipped.end + 1, reason)
            self._skipped[symbol] = [skipped for skipped in waiting if skipped.numbers and skipped not in late]

    def _certain_minutes(self) -> Iterator[Hole]:
        now = (self._newest - _LATENESS_NS) // NS_PER_MINUTE
        if now <= self._judged_minute:
            return
        self._judged_minute = now
        for (symbol, at), minute in list(self._minutes.items()):
            if at < now - _KEPT_MINUTES:
                del self._minutes[symbol, at]
            elif at + 1 < now and minute.stated is not None and not minute.is_judged:
                minute.is_judged = True
                after = self._minutes.get((symbol, at + 1), _MinuteVolume())
                moved = max(0.0, after.excess)
                if -minute.excess > moved + minute.stated * _ROUNDING:
                    reason = f"the vendor's bar states a volume of {minute.stated:g}; the trades received add up to {minute.volume:g}"
                    yield Hole(symbol, "trades", at * NS_PER_MINUTE, (at + 1) * NS_PER_MINUTE, reason)
