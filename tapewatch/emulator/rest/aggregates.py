"""Bars of a tape: ranges in pages, a market's whole day, and the last finished day."""

import datetime as dt
from dataclasses import dataclass

import polars as pl

from tapewatch.emulator.tape.cache import LruCache
from tapewatch.emulator.tape.market_tape import MarketTape
from tapewatch.emulator.tape.windows import BASES, day_bar, merged, rows_between, second_bars, window_start, windows
from tapewatch.emulator.vendor import times
from tapewatch.market.instruments import Market, session_of, trading_days
from tapewatch.market.tables.tape import DELIVERED_BARS

DEFAULT_LIMIT = 5000
_CACHE_BYTES = 64 * 1024 * 1024
# How far back to look for the last session: longer than any closure since the tape began.
_LOOK_BACK = dt.timedelta(days=10)


@dataclass(frozen=True, slots=True)
class BarRange:
    """The bars that a request names: those of `[low, high)` in ns UTC."""

    symbol: str
    multiplier: int
    timespan: str
    low: int
    high: int
    is_descending: bool
    limit: int
    anchor: dt.date


@dataclass(frozen=True, slots=True)
class BarPage:
    """Windows in the requested order, the number of base bars in them, and the rest of the range (None if nothing is left)."""

    bars: pl.DataFrame
    base_bars: int
    rest: tuple[int, int] | None


class Aggregates:
    def __init__(self, tape: MarketTape) -> None:
        self._tape = tape
        self._cache: LruCache[pl.DataFrame] = LruCache(_CACHE_BYTES, lambda frame: int(frame.estimated_size()) + 512)

    def page(self, asked: BarRange) -> BarPage:
        market, base = self._tape.market(asked.symbol), BASES[asked.timespan]
        parts, count = [DELIVERED_BARS.empty()], 0
        for day in self._days(asked, market):
            bars = rows_between(self.base(asked.symbol, day, base), asked.low, asked.high)
            parts.append(bars)
            count += bars.height
            # One bar more than the page holds shows that there is a next page.
            if count > asked.limit:
                break
        bars = pl.concat(parts[::-1] if asked.is_descending else parts)
        if count <= asked.limit:
            made = self._windows(bars, asked, market)
            return BarPage(made.reverse() if asked.is_descending else made, count, None)
        return self._cut(bars, asked, market)

    def base(self, symbol: str, date: dt.date, base: str) -> pl.DataFrame:
        """A symbol's day of base bars: `second`, `minute` or `day` (`DELIVERED_BARS`)."""
        if base == "minute":
            return self._tape.bars(symbol, date)
        return self._cache.get((symbol, date, base), lambda: self._make(symbol, date, base))

    def grouped(self, market: Market, date: dt.date) -> pl.DataFrame:
        """The day's bars of every listed symbol (`DELIVERED_BARS`), ascending by symbol."""
        return pl.concat([DELIVERED_BARS.empty(), *(self.base(s, date, "day") for s in self._tape.symbols(market))])

    def previous(self, symbol: str, now: int) -> pl.DataFrame:
        """The last finished day's bar, at most one row."""
        market = self._tape.market(symbol)
        yesterday = times.date_of(now, market) - dt.timedelta(days=1)
        last = self._tape.last_day(market)
        latest = yesterday if last is None else min(yesterday, last)
        days = trading_days(market, latest - _LOOK_BACK, latest)
        return self.base(symbol, days[-1], "day") if days else DELIVERED_BARS.empty()

    def _make(self, symbol: str, date: dt.date, base: str) -> pl.DataFrame:
        session = session_of(self._tape.market(symbol), date)
        if session is None:
            return DELIVERED_BARS.empty()
        trades = self._tape.prices(symbol, date)
        if base == "second":
            return second_bars(trades, session)
        if trades.is_empty():
            # A recorded market may have bars but no trades.
            return merged(self._tape.bars(symbol, date), window_start(1, "day", session.market, date))
        return day_bar(trades, session)

    def _days(self, asked: BarRange, market: Market) -> list[dt.date]:
        first = max(times.date_of(asked.low, market), self._tape.first_day(market))
        last = times.date_of(max(asked.high - 1, asked.low), market)
        if (end := self._tape.last_day(market)) is not None:
            last = min(last, end)
        days = trading_days(market, first, last) if first <= last else []
        return days[::-1] if asked.is_descending else days

    def _windows(self, bars: pl.DataFrame, asked: BarRange, market: Market) -> pl.DataFrame:
        return windows(bars, asked.multiplier, asked.timespan, market, asked.anchor)

    def _cut(self, bars: pl.DataFrame, asked: BarRange, market: Market) -> BarPage:
        """A full page: whole windows only, unless the limit is smaller than one window."""
        bars = bars.reverse() if asked.is_descending else bars
        starts = bars.select(window_start(asked.multiplier, asked.timespan, market, asked.anchor)).to_series()
        kept = bars.head(asked.limit)
        whole = kept.filter(starts.head(asked.limit) != starts[asked.limit])
        whole = kept if whole.is_empty() else whole
        if asked.is_descending:
            made = self._windows(whole.reverse(), asked, market).reverse()
            return BarPage(made, whole.height, (asked.low, _ns(whole["time"][-1])))
        return BarPage(self._windows(whole, asked, market), whole.height, (_ns(bars["time"][whole.height]), asked.high))


def _ns(time: dt.datetime) -> int:
    # Bars begin on whole seconds.
    return int(time.timestamp()) * 1_000_000_000
