"""/v2/aggs: ranges of bars in pages, a market's whole day, and the day before."""

import datetime as dt
from dataclasses import dataclass, replace

import polars as pl

from tapewatch.emulator.tape.cache import LruCache
from tapewatch.emulator.tape.market_tape import MarketTape
from tapewatch.emulator.tape.windows import BASES, day_bar, second_bars, window_start, windows
from tapewatch.emulator.vendor import times
from tapewatch.market.instruments import Market, session_of, trading_days
from tapewatch.market.tables import DELIVERED_BARS

DEFAULT_LIMIT = 5000
_CACHE_BYTES = 64 * 1024 * 1024
# How many days back the last session is looked for: longer than any closure since the tape began.
_LOOK_BACK = dt.timedelta(days=10)


@dataclass(frozen=True, slots=True)
class Range:
    """A request for bars: `[low, high)` in ns UTC."""

    symbol: str
    multiplier: int
    timespan: str
    low: int
    high: int
    is_descending: bool
    limit: int
    anchor: dt.date

    def within(self, low: int, high: int) -> "Range":
        """The same request for another stretch of time."""
        return replace(self, low=low, high=high)


@dataclass(frozen=True, slots=True)
class BarPage:
    """Windows in the order asked for, how many base bars they consumed, and what is left of the range, if anything."""

    bars: pl.DataFrame
    base_bars: int
    rest: tuple[int, int] | None


class Aggregates:
    """Bars of a tape."""

    def __init__(self, tape: MarketTape) -> None:
        self._tape = tape
        self._cache: LruCache[pl.DataFrame] = LruCache(_CACHE_BYTES, lambda frame: int(frame.estimated_size()) + 512)

    def page(self, ask: Range) -> BarPage:
        """One page of a range."""
        market, base = self._tape.market(ask.symbol), BASES[ask.timespan]
        parts, count = [DELIVERED_BARS.empty()], 0
        for day in self._days(ask, market):
            bars = _within(self.base(ask.symbol, day, base), ask.low, ask.high)
            parts.append(bars)
            count += bars.height
            # One bar more than the page holds says that there is a next page.
            if count > ask.limit:
                break
        bars = pl.concat(parts[::-1] if ask.is_descending else parts)
        if count <= ask.limit:
            made = self._windows(bars, ask, market)
            return BarPage(made.reverse() if ask.is_descending else made, count, None)
        return self._cut(bars, ask, market)

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
            # Recorded markets may have bars and no trades.
            return windows(self._tape.bars(symbol, date), 1, "day", session.market, date)
        return day_bar(trades, session)

    def _days(self, ask: Range, market: Market) -> list[dt.date]:
        first = max(times.date_of(ask.low, market), self._tape.first_day(market))
        last = times.date_of(max(ask.high - 1, ask.low), market)
        if (end := self._tape.last_day(market)) is not None:
            last = min(last, end)
        days = trading_days(market, first, last) if first <= last else []
        return days[::-1] if ask.is_descending else days

    def _windows(self, bars: pl.DataFrame, ask: Range, market: Market) -> pl.DataFrame:
        return windows(bars, ask.multiplier, ask.timespan, market, ask.anchor)

    def _cut(self, bars: pl.DataFrame, ask: Range, market: Market) -> BarPage:
        """A full page: only whole windows, unless the limit holds not even one."""
        starts = bars.select(window_start(ask.multiplier, ask.timespan, market, ask.anchor)).to_series()
        if ask.is_descending:
            kept, first_left = bars.tail(ask.limit), starts[bars.height - ask.limit - 1]
            whole = kept.filter(starts.tail(ask.limit) != first_left)
            whole = kept if whole.is_empty() else whole
            return BarPage(self._windows(whole, ask, market).reverse(), whole.height, (ask.low, _ns(whole["time"][0])))
        kept, first_left = bars.head(ask.limit), starts[ask.limit]
        whole = kept.filter(starts.head(ask.limit) != first_left)
        whole = kept if whole.is_empty() else whole
        left = bars["time"][whole.height]
        return BarPage(self._windows(whole, ask, market), whole.height, (_ns(left), ask.high))


def _ns(moment: dt.datetime) -> int:
    # Bars begin on whole seconds.
    return int(moment.timestamp()) * 1_000_000_000


def _within(bars: pl.DataFrame, low: int, high: int) -> pl.DataFrame:
    time = pl.col("time").dt.epoch("ns")
    return bars.filter((time >= low) & (time < high))
