"""What the server serves: one symbol's day at a time, from the synthetic market or from recorded files."""

import datetime as dt
from collections.abc import Sequence
from typing import Protocol

import polars as pl

from tapewatch.bars.time_bars import minute_bars
from tapewatch.emulator.synthetic.frames import middles
from tapewatch.emulator.synthetic.market import Synthetic, TapeDay
from tapewatch.emulator.synthetic.universe import HISTORY_START, Instrument, instrument
from tapewatch.emulator.tape.cache import LruCache
from tapewatch.market.instruments import Market, market_of, session_of
from tapewatch.market.tables import DELIVERED_BARS

CACHE_BYTES = 256 * 1024 * 1024


class MarketTape(Protocol):
    """A market's past, whole days of single symbols. Unknown symbols and days without trading have empty frames."""

    @property
    def name(self) -> str:
        """`synthetic` or `recorded`."""

    def knows(self, symbol: str) -> bool:
        """False where no day of the symbol has rows, so that none need be looked for."""

    def market(self, symbol: str) -> Market:
        """The market of a symbol; names do not tell futures from stocks, but the tape does."""

    def symbols(self, market: Market) -> list[str]:
        """The symbols listed, ascending."""

    def symbols_on(self, market: Market, date: dt.date) -> list[str]:
        """The symbols that have rows on a day, ascending."""

    def load(self, table: str, symbols: Sequence[str], date: dt.date) -> None:
        """Get ready what is about to be asked for: `trades`, `quotes` or `bars` of a market's symbols."""

    def describe(self, symbol: str) -> Instrument | None:
        """What is known of a listed symbol beyond its name; None where nothing is."""

    def first_day(self, market: Market) -> dt.date:
        """No day before this one has rows."""

    def last_day(self, market: Market) -> dt.date | None:
        """No day after this one has rows; None where only the clock ends the tape."""

    def days(self, market: Market) -> list[dt.date] | None:
        """The days that have rows, ascending; None where every trading day has."""

    def trades(self, symbol: str, date: dt.date) -> pl.DataFrame:
        """The day's `TRADES`."""

    def quotes(self, symbol: str, date: dt.date) -> pl.DataFrame:
        """The day's `QUOTES`."""

    def bars(self, symbol: str, date: dt.date) -> pl.DataFrame:
        """The day's minute bars (`DELIVERED_BARS`)."""

    def prices(self, symbol: str, date: dt.date) -> pl.DataFrame:
        """What the day's bars are built from, as `TRADES`: the trades; in forex, where there are none, the middles of the
        quotes, of size 1; of an index its values, of size 0."""

    def truth(self, symbol: str, date: dt.date) -> pl.DataFrame | None:
        """The anomalies in the day; None where the tape knows of none and never will."""


class SyntheticTape:
    """The synthetic market, with the days used last kept in memory."""

    name = "synthetic"

    def __init__(self, seed: int, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._market = Synthetic(seed)
        self._days: LruCache[TapeDay] = LruCache(cache_bytes, _day_bytes)
        self._bars: LruCache[pl.DataFrame] = LruCache(cache_bytes // 8, _frame_bytes)

    def knows(self, symbol: str) -> bool:
        """See `MarketTape`."""
        return instrument(symbol) is not None

    def market(self, symbol: str) -> Market:
        """See `MarketTape`."""
        known = instrument(symbol)
        return market_of(symbol) if known is None else known.market

    def symbols(self, market: Market) -> list[str]:
        """See `MarketTape`."""
        return self._market.symbols(market)

    def symbols_on(self, market: Market, date: dt.date) -> list[str]:  # noqa: ARG002 - every day has them all
        """See `MarketTape`."""
        return self._market.symbols(market)

    def load(self, table: str, symbols: Sequence[str], date: dt.date) -> None:
        """See `MarketTape`; days are made one by one."""

    def describe(self, symbol: str) -> Instrument | None:
        """See `MarketTape`."""
        return instrument(symbol)

    def first_day(self, market: Market) -> dt.date:
        """See `MarketTape`."""
        return HISTORY_START.get(market, dt.date.max)

    def last_day(self, market: Market) -> None:
        """See `MarketTape`."""

    def days(self, market: Market) -> None:
        """See `MarketTape`."""

    def trades(self, symbol: str, date: dt.date) -> pl.DataFrame:
        """See `MarketTape`."""
        return self._day(symbol, date).trades

    def quotes(self, symbol: str, date: dt.date) -> pl.DataFrame:
        """See `MarketTape`."""
        return self._day(symbol, date).quotes

    def bars(self, symbol: str, date: dt.date) -> pl.DataFrame:
        """See `MarketTape`."""
        return self._bars.get((symbol, date), lambda: self._built(symbol, date))

    def _built(self, symbol: str, date: dt.date) -> pl.DataFrame:
        market = self.market(symbol)
        bars = built_bars(market, date, self.prices(symbol, date))
        if market is Market.INDICES:
            # Values are published, not traded.
            return bars.with_columns(pl.lit(None, dtype=pl.Int64).alias("transactions"))
        return bars

    def prices(self, symbol: str, date: dt.date) -> pl.DataFrame:
        """See `MarketTape`."""
        match self.market(symbol):
            case Market.INDICES:
                return self._market.values(symbol, date)
            case Market.FOREX:
                return middles(self.quotes(symbol, date))
            case _:
                return self.trades(symbol, date)

    def truth(self, symbol: str, date: dt.date) -> pl.DataFrame:
        """See `MarketTape`."""
        return self._day(symbol, date).truth

    def _day(self, symbol: str, date: dt.date) -> TapeDay:
        return self._days.get((symbol, date), lambda: self._market.day(symbol, date))


def built_bars(market: Market, date: dt.date, trades: pl.DataFrame) -> pl.DataFrame:
    """Minute bars of a symbol's day from its trades, by the vendor's rules (`DELIVERED_BARS`)."""
    session = session_of(market, date)
    if session is None or trades.is_empty():
        return DELIVERED_BARS.empty()
    return minute_bars(trades, session)


def _frame_bytes(frame: pl.DataFrame) -> int:
    return int(frame.estimated_size())


def _day_bytes(day: TapeDay) -> int:
    return _frame_bytes(day.trades) + _frame_bytes(day.quotes)
