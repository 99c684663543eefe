"""What was known of a symbol at a time: its last trade and quote, and the bars of the minute, the day and the day before."""

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from tapewatch.emulator.rest.aggregates import Aggregates
from tapewatch.emulator.tape.market_tape import MarketTape
from tapewatch.emulator.tape.windows import day_bar, merged, rows_between, window_start
from tapewatch.emulator.vendor import times
from tapewatch.market.instruments import NS_PER_MINUTE, Market, session_of, trading_days
from tapewatch.market.prices import is_two_sided
from tapewatch.market.tables.tape import DELIVERED_BARS

Row = dict[str, Any]
# Longer than any closure since the tape began.
_LOOK_BACK = dt.timedelta(days=10)


@dataclass(frozen=True, slots=True)
class Bars:
    """Rows of `DELIVERED_BARS`, None where there is none: the day so far, its last finished minute, the day before."""

    day: Row | None
    minute: Row | None
    day_before: Row | None


class Latest:
    def __init__(self, tape: MarketTape) -> None:
        self._tape = tape
        self._aggregates = Aggregates(tape)

    def trade(self, symbol: str, before: int) -> Row | None:
        """The symbol's last trade before a time (ns UTC), as a row of `TRADES` with times in ns."""
        return self._last(symbol, before, self._tape.trades)

    def quote(self, symbol: str, before: int) -> Row | None:
        """The symbol's last quote with two sides before a time, as a row of `QUOTES` with times in ns."""
        market = self._tape.market(symbol)
        return self._last(symbol, before, lambda s, day: self._tape.quotes(s, day).filter(is_two_sided(market)))

    def value(self, symbol: str, before: int) -> float | None:
        """An index's last value before a time."""
        row = self._last(symbol, before, self._tape.prices)
        return None if row is None else float(row["price"])

    def bars(self, symbol: str, before: int) -> Bars:
        """The bars of the last trading day that began before a time, as far as they were known, and of the one before."""
        days = list(self._days(symbol, before))
        if not days:
            return Bars(None, None, None)
        day = self._day_so_far(symbol, days[0], before)
        minutes = rows_between(self._tape.bars(symbol, days[0]), 0, before - NS_PER_MINUTE + 1)
        yesterday = self._aggregates.base(symbol, days[1], "day") if len(days) > 1 else DELIVERED_BARS.empty()
        return Bars(_last_of(day), _last_of(minutes), _last_of(yesterday))

    def _day_so_far(self, symbol: str, day: dt.date, before: int) -> pl.DataFrame:
        market = self._tape.market(symbol)
        session, prices = session_of(market, day), self._tape.prices(symbol, day)
        if session is None:
            return DELIVERED_BARS.empty()
        if prices.is_empty():
            bars = rows_between(self._tape.bars(symbol, day), 0, before - NS_PER_MINUTE + 1)
            return merged(bars, window_start(1, "day", market, day))
        return day_bar(rows_between(prices, 0, before), session)

    def _last(self, symbol: str, before: int, rows_of: Callable[[str, dt.date], pl.DataFrame]) -> Row | None:
        for day in self._days(symbol, before):
            rows = rows_between(rows_of(symbol, day), 0, before)
            if rows.height:
                return _last_of(rows)
        return None

    def _days(self, symbol: str, before: int) -> Iterator[dt.date]:
        """The trading days that began before a time, the last first."""
        market = self._tape.market(symbol)
        latest, last = times.date_of(before - 1, market), self._tape.last_day(market)
        latest = latest if last is None else min(latest, last)
        # The day of a market that opens on the evening before has the next date.
        if market is Market.FUTURES and last is None:
            latest += dt.timedelta(days=1)
        for day in reversed(trading_days(market, max(latest - _LOOK_BACK, self._tape.first_day(market)), latest)):
            session = session_of(market, day)
            if session is not None and session.extended_start < before:
                yield day


def _last_of(rows: pl.DataFrame) -> Row | None:
    if rows.is_empty():
        return None
    temporal = pl.selectors.temporal()
    return (
        rows.tail(1)
        .with_columns(temporal.dt.epoch("ns"), pl.selectors.categorical().cast(pl.String))
        .row(0, named=True)
    )
