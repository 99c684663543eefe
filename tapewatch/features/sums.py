"""From ticks to minute sums: lays out the minutes of every symbol and runs the compiled pass over them in threads."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.features import kernel, windows
from tapewatch.features.records import MINUTE, FlatQuotes, Span, fresh_states, room_for_waiting
from tapewatch.market.arrays import Array, FlatTrades, SessionBounds, flat, flat_trades, session_bounds, symbol_runs
from tapewatch.market.conditions import Updates
from tapewatch.market.instruments import NS_PER_MINUTE, Market, Session
from tapewatch.market.prices import floor_of
from tapewatch.market.tables.tape import QUOTES, SYMBOL


@dataclass(frozen=True)
class MinuteSums:
    """The sums of every symbol-minute in order; `records` is of dtype `MINUTE`, `symbol` indexes `names`, a categorical."""

    names: pl.Series
    session: Session
    symbol: npt.NDArray[np.int64]
    records: Array

    def __getitem__(self, name: str) -> Array:
        """One field of every minute, contiguous."""
        return np.ascontiguousarray(self.records[name])

    @cached_property
    def minute(self) -> npt.NDArray[np.int64]:
        """Minutes since the regular open, negative before it."""
        since_open: npt.NDArray[np.int64] = (self.records["start"] - self.session.regular_start) // NS_PER_MINUTE
        return since_open

    @cached_property
    def segment(self) -> npt.NDArray[np.int64]:
        """A number for each symbol's time before, within and after regular hours; windows do not cross segments."""
        part = (self.minute >= 0).astype(np.int64) + (self.minute >= self.session.regular_minutes)
        return self.symbol * 3 + part

    @cached_property
    def minutes_before(self) -> npt.NDArray[np.int64]:
        """Number of minutes of the window before each row that lie in its segment."""
        return windows.minutes_before(self.minute, self.segment)

    def trailing(self, *columns: Array, with_current: bool, width: int = windows.WINDOW) -> npt.NDArray[np.float64]:
        """Trailing sums of each column, as `windows.trailing_sums`."""
        stacked = np.array(columns, dtype=np.float64)
        return windows.trailing_sums(stacked, self.minute, self.segment, with_current=with_current, width=width)

    def mean_minute(self, column: Array) -> npt.NDArray[np.float64]:
        """The column's mean over the minutes of the window before, silent ones as 0; NaN for too few minutes."""
        (total,) = self.trailing(column, with_current=False)
        return ratio(total, self.minutes_before, where=self.minutes_before >= windows.ENOUGH)

    def mean_observed(self, column: Array) -> npt.NDArray[np.float64]:
        """The column's mean over the minutes of the window before where it is known; NaN for too few of them."""
        total, count = self.trailing(column, np.isfinite(column), with_current=False)
        return ratio(total, count, where=count >= windows.ENOUGH)


def ratio(numerator: Array, denominator: Array, *, where: Array | None = None) -> npt.NDArray[np.float64]:
    """Quotients, NaN where the denominator is not positive or `where` is false."""
    sound = denominator > 0
    quotients: npt.NDArray[np.float64] = np.divide(
        numerator, denominator, out=np.full(len(sound), np.nan), where=sound if where is None else sound & where
    )
    return quotients


def minute_sums(
    trades: pl.DataFrame,
    quotes: pl.DataFrame | None,
    session: Session,
    rules: Mapping[int, Updates],
    *,
    through_ns: int,
    symbols: Sequence[str] | None = None,
) -> MinuteSums:
    """The sums of every symbol-minute that has ticks or lies in regular hours, and ends by `through_ns`.

    Args:
        trades, quotes: rows of whole symbols, sorted as their tables say.
        session: the day they belong to.
        rules: condition code to allowed fields, for stocks.
        through_ns: end of what is known.
        symbols: the symbols of the sums; by default those on the tape.

    Raises:
        ValueError: rows are unsorted or lie outside the session's day.
    """
    trade_symbols, flat_t = flat_trades(trades, session, rules)
    quote_symbols, flat_q = flat_quotes(QUOTES.empty() if quotes is None else quotes)
    names = tuple(sorted({*trade_symbols, *quote_symbols} if symbols is None else set(symbols)))
    hours = session_bounds(session)
    rows = spans(names, (trade_symbols, flat_t.offsets), (quote_symbols, flat_q.offsets))
    starts = [_minute_starts(flat_t.time, flat_q.time, span, hours, through_ns) for span in rows]
    counts = np.array([len(each) for each in starts], dtype=np.int64)
    records = np.zeros(counts.sum(), dtype=MINUTE)
    if records.size:
        records["start"] = np.concatenate(starts)
        pieces = np.split(records, np.cumsum(counts)[:-1])
        _run(flat_t, flat_q, rows, session, pieces)
    return MinuteSums(pl.Series(names, dtype=SYMBOL), session, np.repeat(np.arange(len(names)), counts), records)


def flat_quotes(quotes: pl.DataFrame) -> tuple[tuple[str, ...], FlatQuotes]:
    """The symbols of sorted `QUOTES` rows, in order, and the rows as arrays.

    Raises:
        ValueError: symbols are out of order, or one of them comes twice.
    """
    symbols, offsets = symbol_runs(quotes)
    columns = ("time", "bid_price", "ask_price", "bid_size", "ask_size")
    return symbols, FlatQuotes(offsets, *(flat(quotes[name]) for name in columns))


def spans(
    names: tuple[str, ...], trades: tuple[tuple[str, ...], Array], quotes: tuple[tuple[str, ...], Array]
) -> list[Span]:
    """The rows of each of `names` among the trades and the quotes, each given as symbols and offsets."""
    bounds = [
        {symbol: (int(offsets[at]), int(offsets[at + 1])) for at, symbol in enumerate(symbols)}
        for symbols, offsets in (trades, quotes)
    ]
    return [Span(*bounds[0].get(name, (0, 0)), *bounds[1].get(name, (0, 0))) for name in names]


def _minute_starts(
    trade_time: Array, quote_time: Array, span: Span, hours: SessionBounds, through_ns: int
) -> npt.NDArray[np.int64]:
    present = np.zeros((hours.day_end - hours.day_start) // NS_PER_MINUTE, dtype=np.bool_)
    faults = (
        kernel.mark_minutes(trade_time, span.first_trade, span.last_trade, hours.day_start, present),
        kernel.mark_minutes(quote_time, span.first_quote, span.last_quote, hours.day_start, present),
    )
    _raise_fault(min(faults), hours)
    start = hours.day_start + np.arange(present.size) * NS_PER_MINUTE
    present |= (start >= hours.regular_start) & (start < hours.regular_end)
    present &= start + NS_PER_MINUTE <= through_ns
    return start[present]


def _run(trades: FlatTrades, quotes: FlatQuotes, rows: list[Span], session: Session, pieces: list[Array]) -> None:
    hours, floor = session_bounds(session), floor_of(session.market)
    states_sides, mids_are_prices = session.market is Market.CRYPTO, session.market is Market.FOREX

    def summarise(at: int) -> int:
        span, state = rows[at], fresh_states(1)[0]
        waiting = room_for_waiting(span.last_trade - span.first_trade)
        fault, _, _ = kernel.summarise(
            trades, quotes, span, hours, floor, states_sides, mids_are_prices, pieces[at], state, waiting, 0, 0, False,
            hours.day_end,
        )  # fmt: skip
        return int(fault)

    # Not Numba's parallel loop: its runtimes fail after a fork and when several threads call them.
    longest_first = sorted(range(len(rows)), key=lambda at: _ticks(rows[at]), reverse=True)
    with ThreadPoolExecutor(min(pl.thread_pool_size(), len(rows))) as pool:
        _raise_fault(min(pool.map(summarise, longest_first)), hours)


def _ticks(span: Span) -> int:
    return span.last_trade - span.first_trade + span.last_quote - span.first_quote


def _raise_fault(fault: int, hours: SessionBounds) -> None:
    if fault != kernel.OK:
        day = np.datetime64(hours.regular_start, "ns").astype("datetime64[D]")
        what = "outside the session's day" if fault == kernel.OUT_OF_DAY else "out of order of time"
        raise ValueError(f"the tape of {day} holds rows {what}: a feed should have refused them")
