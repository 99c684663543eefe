"""The tape that the engine runs over: quotes and trades, or bars, with corporate actions and halts, as arrays in order of time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import polars as pl

from tapewatch.market.arrays import Array, flat, symbol_runs
from tapewatch.market.compiled import njit
from tapewatch.market.conditions import STOCK_UPDATE_RULES, Updates, update_flags
from tapewatch.market.instruments import NS_PER_MINUTE, Market, market_of
from tapewatch.market.tables.tape import TIME
from tapewatch.market.tables.trading import CORPORATE_ACTIONS, HALTS
from tapewatch.trading.engine.records import ACTION, BAR, HALT, QUOTE, TRADE, Events
from tapewatch.trading.engine.refusals import Reason

_DAY_NS = 24 * 60 * NS_PER_MINUTE
_OHLC = ("open", "high", "low", "close")
_QUOTE_COLUMNS = ("bid_price", "ask_price", "bid_size", "ask_size")
_LAST_VALID_CORRECTION = 1


class TapeError(ValueError):
    """Frames that are no tape; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Rows of the tape that the engine leaves out, of one symbol and for one reason."""

    symbol: str
    reason: Reason
    time: int
    detail: str


@dataclass(frozen=True, slots=True)
class Tape:
    """Events in order of time; `events.symbol` indexes `symbols`."""

    symbols: tuple[str, ...]
    events: Events
    is_bars: bool
    faults: tuple[Fault, ...] = ()

    @classmethod
    def of(
        cls, tape: "Tape | pl.DataFrame | tuple[pl.DataFrame, pl.DataFrame]", longest_gap_ns: int = 10 * _DAY_NS
    ) -> Self:
        """A tape as it is, `BARS` or `QUOTES` by their columns, or `QUOTES` and `TRADES`.

        Raises:
            TapeError: the frame has the columns of neither.
        """
        if isinstance(tape, cls):
            return tape
        if isinstance(tape, tuple):
            return cls.of_quotes(tape[0], tape[1], longest_gap_ns=longest_gap_ns)
        if isinstance(tape, pl.DataFrame) and "bid_price" in tape.columns:
            return cls.of_quotes(tape, longest_gap_ns=longest_gap_ns)
        if isinstance(tape, pl.DataFrame) and "close" in tape.columns:
            return cls.of_bars(tape, longest_gap_ns=longest_gap_ns)
        raise TapeError("this is no tape: give bars, quotes, or quotes and trades")

    @classmethod
    def of_quotes(
        cls,
        quotes: pl.DataFrame,
        trades: pl.DataFrame | None = None,
        *,
        actions: pl.DataFrame | None = None,
        halts: pl.DataFrame | None = None,
        longest_gap_ns: int = 10 * _DAY_NS,
    ) -> Self:
        """A tape of `QUOTES`, and of those `TRADES` that are valid and may set a price.

        Args:
            actions: `CORPORATE_ACTIONS`.
            halts: `HALTS`.
            longest_gap_ns: rows further ahead of their symbol's last one are left out.
        """
        parts = _Parts(longest_gap_ns)
        parts.add_others(actions, halts)
        if trades is not None:
            parts.add(_valid(trades), TRADE, ("price", "size"), must_be_positive=("price",))
        parts.add(quotes, QUOTE, _QUOTE_COLUMNS)
        return cls(*parts.joined(), is_bars=False, faults=tuple(parts.faults))

    @classmethod
    def of_bars(
        cls,
        bars: pl.DataFrame,
        *,
        actions: pl.DataFrame | None = None,
        halts: pl.DataFrame | None = None,
        longest_gap_ns: int = 10 * _DAY_NS,
    ) -> Self:
        """A tape of `BARS`, `DELIVERED_BARS` or live bars; without `known_time` a bar is known a minute after its start."""
        parts = _Parts(longest_gap_ns)
        parts.add_others(actions, halts)
        parts.add(bars, BAR, (*_OHLC, "volume"), must_be_positive=_OHLC)
        return cls(*parts.joined(), is_bars=True, faults=tuple(parts.faults))

    @property
    def first(self) -> int:
        """Time of the first event, 0 if there is none."""
        return int(self.events.time[0]) if self.events.time.size else 0

    @property
    def last(self) -> int:
        """Time of the last event, 0 if there is none."""
        return int(self.events.time[-1]) if self.events.time.size else 0

    def part(self, since: int, until: int) -> "Tape":
        """The events with `since` < time <= `until`."""
        low, high = np.searchsorted(self.events.time, [since, until], side="right")
        return Tape(self.symbols, Events(*(array[low:high] for array in self.events)), self.is_bars)


@dataclass
class _Parts:
    """Events of several frames, each sorted by symbol and time."""

    longest_gap_ns: int
    symbols: dict[str, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    columns: list[tuple[Array, ...]] = field(default_factory=list)

    def add_others(self, actions: pl.DataFrame | None, halts: pl.DataFrame | None) -> None:
        """Corporate actions and halts."""
        if actions is not None:
            self.add(CORPORATE_ACTIONS.conform(actions), ACTION, ("split_ratio", "dividend"))
        if halts is not None:
            rows = HALTS.conform(halts)
            begun = rows.select("symbol", time="start_time", is_halted=pl.lit(1.0))
            ended = rows.drop_nulls("end_time").select("symbol", time="end_time", is_halted=pl.lit(0.0))
            self.add(pl.concat([begun, ended]), HALT, ("is_halted",), is_trusted=True)

    def add(
        self,
        frame: pl.DataFrame,
        kind: int,
        columns: Sequence[str],
        *,
        must_be_positive: Sequence[str] = (),
        is_trusted: bool = False,
    ) -> None:
        """The rows of a frame, without those that cannot be."""
        if frame.is_empty():
            return
        frame = _by_symbol(frame, sorts_times=is_trusted or kind == ACTION)
        names, offsets = symbol_runs(frame)
        start = flat(frame["time"].cast(TIME))
        rows = np.repeat(np.arange(len(names)), np.diff(offsets))
        kept = np.ones(start.size, dtype=np.bool_)
        if kind not in (ACTION, HALT):
            kept = ~clock_faults(start, offsets, self.longest_gap_ns)
            self._note(names, rows, start, ~kept, Reason.CLOCK, self._clock_detail())
        for column in must_be_positive:
            is_price = flat(frame[column]) > 0
            self._note(names, rows, start, ~is_price & kept, Reason.PRICE, f"{column} is not above 0")
            kept &= is_price
        time = start
        if kind == BAR:
            time = flat(frame["known_time"].cast(TIME)) if "known_time" in frame.columns else start + NS_PER_MINUTE
        codes = np.array([self.symbols.setdefault(name, len(self.symbols)) for name in names], dtype=np.int32)[rows]
        values = [flat(frame[column].cast(pl.Float64)) for column in columns]
        values += [np.broadcast_to(np.nan, start.size)] * (5 - len(values))
        arrays = (time, start, codes, np.full(start.size, kind, dtype=np.int8), *values)
        self.columns.append(arrays if kept.all() else tuple(array[kept] for array in arrays))

    def _clock_detail(self) -> str:
        days = self.longest_gap_ns / _DAY_NS
        return f"times step back, or more than {days:g} days ahead: mend the tape, or raise longest_gap_days"

    def _note(self, names: Sequence[str], rows: Array, time: Array, is_bad: Array, reason: Reason, what: str) -> None:
        for symbol in np.unique(rows[is_bad]):
            found = time[is_bad & (rows == symbol)]
            text = f"{found.size:,} row(s) of {names[symbol]} left out: {what}"
            self.faults.append(Fault(names[symbol], reason, int(found[0]), text))

    def joined(self) -> tuple[tuple[str, ...], Events]:
        """Symbols and events."""
        if not self.columns:
            empty = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int8))
            return (), Events(*empty, *(np.zeros(0) for _ in range(5)))
        # Parts were added in order of kind and are in order of symbol, so a stable sort by time is all.
        order = np.argsort(_concatenated(part[0] for part in self.columns), kind="stable")
        arrays = (_concatenated(part[at] for part in self.columns).take(order) for at in range(9))
        return tuple(self.symbols), Events(*arrays)


def _concatenated(arrays: Iterator[Array]) -> Array:
    parts = list(arrays)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _by_symbol(frame: pl.DataFrame, *, sorts_times: bool) -> pl.DataFrame:
    """By symbol; within a symbol as the rows come, unless they are to be sorted by time."""
    name = pl.col("symbol").cast(pl.String)
    if sorts_times:
        return frame.sort(name, "time", maintain_order=True)
    try:
        symbol_runs(frame)
    except ValueError:
        return frame.sort(name, maintain_order=True)
    return frame


def _valid(trades: pl.DataFrame) -> pl.DataFrame:
    """Trades that stand and may set a high or low; only stocks have rules."""
    if "correction" in trades.columns:
        trades = trades.filter(pl.col("correction").fill_null(0) <= _LAST_VALID_CORRECTION)
    if "conditions" not in trades.columns or trades.is_empty():
        return trades
    if market_of(str(trades["symbol"][0])) is not Market.STOCKS:
        return trades
    texts = trades["conditions"].unique().cast(pl.String).drop_nulls().to_list()
    flags = update_flags(texts, STOCK_UPDATE_RULES, is_extended=False)
    barred = [text for text, flag in zip(texts, flags, strict=True) if not int(flag) & int(Updates.HIGH_LOW)]
    return trades.filter(~pl.col("conditions").cast(pl.String).is_in(barred)) if barred else trades


@njit(cache=True, nogil=True)
def clock_faults(time: Array, offsets: Array, longest: int) -> Array:
    """Which rows step back behind their symbol's last good row, or are further ahead of it than `longest`."""
    faulty = np.zeros(time.size, dtype=np.bool_)
    for symbol in range(offsets.size - 1):
        last = time[offsets[symbol]]
        for row in range(offsets[symbol], offsets[symbol + 1]):
            if time[row] < last or time[row] - last > longest:
                faulty[row] = True
            else:
                last = time[row]
    return faulty
