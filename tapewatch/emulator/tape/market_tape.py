"""The tape that the server serves, by symbol and day; the synthetic market as such a tape."""

import datetime as dt
from collections.abc import Sequence
from typing import Protocol

import polars as pl

from tapewatch.bars.midquotes import middles
from tapewatch.bars.time_bars import minute_bars
from tapewatch.emulator.synthetic.market import Synthetic, TapeDay
from tapewatch.emulator.synthetic.universe import HISTORY_START, Instrument, instrument
from tapewatch.emulator.tape.cache import LruCache
from tapewatch.market.instruments import Market, market_of, session_of
from tapewatch.market.tables.tape import DELIVERED_BARS

CACHE_BYTES = 256 * 1024 * 1024


class MarketTape(Protocol):
    """The history of markets in days of single symbols. Unknown symbols and days without trading have empty frames."""

    @property
    def name(self) -> str:
        """`synthetic` or `recorded`."""

    def may_have(self, symbol: str) -> bool:
        """False if no day of the symbol has rows."""

    def market(self, symbol: str) -> Market:
        """The market of a symbol. Names alone do not distinguish futures from stocks."""

    def symbols(self, market: Market) -> list[str]:
        """The listed symbols, ascending."""

    def symbols_on(self, market: Market, date: dt.date) -> list[str]:
        """The symbols with rows on a day, ascending."""

    def load(self, table: str, symbols: Sequence[str], date: dt.date) -> None:
        """Prefetch `trades`, `quotes` or `bars` of several symbols of one market."""

    def describe(self, symbol: str) -> Instrument | None:
        """The attributes of a listed symbol; None if they are unknown."""

    def first_day(self, market: Market) -> dt.date:
        """The first day that may have rows."""

    def last_day(self, market: Market) -> dt.date | None:
        """The last day that may have rows; None if the tape continues to the present."""

    def days(self, market: Market) -> list[dt.date] | None:
        """The days with rows, ascending; None if every trading day has some."""

    def trades(self, symbol: str, date: dt.date) -> pl.DataFrame:
        """The day's `TRADES`."""

    def quotes(self, symbol: str, date: dt.date) -> pl.DataFrame:
        """The day's `QUOTES`."""

    def bars(self, symbol: str, date: dt.date) -> pl.DataFrame:
        """The day's minute bars (`DELIVERED_BARS`)."""

    def prices(self, symbol: str, date: dt.date) -> pl.DataFrame:
        """The rows from which the day's bars are built, as `TRADES`: the trades; mid-quotes of size 1 for forex; values of
        size 0 for an index."""

    def truth(self, symbol: str, date: dt.date) -> pl.DataFrame | None:
        """The anomalies of the day; None if the tape has no labels."""


class SyntheticTape:
    """The synthetic market, with recently used days in memory."""

    name = "synthetic"

    def __init__(self, seed: int, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._market = Synthetic(seed)
        self._days: LruCache[TapeDay] = LruCache(cache_bytes, _day_bytes)
        self._bars: LruCache[pl.DataFrame] = LruCache(cache_bytes // 8, _frame_bytes)

    def may_have(self, symbol: str) -> bool:
        return instrument(symbol) is not None

    def market(self, symbol: str) -> Market:
        known = instrument(symbol)
        return market_of(symbol) if known is None else known.market

    def symbols(self, market: Market) -> list[str]:
        return self._market.symbols(market)

    def symbols_on(self, market: Market, date: dt.date) -> list[str]:  # noqa: ARG002 - every day has them all
        return self._market.symbols(market)

    def load(self, table: str, symbols: Sequence[str], date: dt.date) -> None:
        """Nothing to prefetch: each day is generated separately."""

    def describe(self, symbol: str) -> Instrument | None:
        return instrument(symbol)

    def first_day(self, market: Market) -> dt.date:
        return HISTORY_START.get(market, dt.date.max)

    def last_day(self, market: Market) -> None:
        """The tape continues to the present."""

    def days(self, market: Market) -> None:
        """Every trading day has rows."""

    def trades(self, symbol: str, date: dt.date) -> pl.DataFrame:
        return self._day(symbol, date).trades

    def quotes(self, symbol: str, date: dt.date) -> pl.DataFrame:
        return self._day(symbol, date).quotes

    def bars(self, symbol: str, date: dt.date) -> pl.DataFrame:
        return self._bars.get((symbol, date), lambda: self._built(symbol, date))

    def _built(self, symbol: str, date: dt.date) -> pl.DataFrame:
        market = self.market(symbol)
        bars = built_bars(market, date, self.prices(symbol, date))
        if market is Market.INDICES:
            # An index has values, not trades.
            return bars.with_columns(pl.lit(None, dtype=pl.Int64).alias("transactions"))
        return bars

    def prices(self, symbol: str, date: dt.date) -> pl.DataFrame:
        match self.market(symbol):
            case Market.INDICES:
                return self._market.values(symbol, date)
            case Market.FOREX:
                return middles(self.quotes(symbol, date))
            case _:
                return self.trades(symbol, date)

    def truth(self, symbol: str, date: dt.date) -> pl.DataFrame:
        return self._day(symbol, date).truth

    def _day(self, symbol: str, date: dt.date) -> TapeDay:
        return self._days.get((symbol, date), lambda: self._market.day(symbol, date))


def built_bars(market: Market, date: dt.date, trades: pl.DataFrame) -> pl.DataFrame:
    """Minute bars (`DELIVERED_BARS`) of a symbol's day from its trades, by the vendor's rules."""
    session = session_of(market, date)
    if session is None or trades.is_empty():
        return DELIVERED_BARS.empty()
    return minute_bars(trades, session)


def _frame_bytes(frame: pl.DataFrame) -> int:
    return int(frame.estimated_size())


def _day_bytes(day: TapeDay) -> int:
    return _frame_bytes(day.trades) + _frame_bytes(day.quotes)
