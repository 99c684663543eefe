"""Recorded flat files as a tape to serve, without labels. Rows that the reader quarantines are not served."""

import datetime as dt
import threading
from collections.abc import Sequence

import polars as pl

from tapewatch.bars.midquotes import middles
from tapewatch.emulator.synthetic.universe import Instrument
from tapewatch.emulator.tape.cache import LruCache
from tapewatch.emulator.tape.market_tape import CACHE_BYTES, built_bars
from tapewatch.feeds.files.source import FlatFileSource
from tapewatch.feeds.source import Load
from tapewatch.market.instruments import Market, Partition, market_of
from tapewatch.market.tables.tape import DELIVERED_BARS, QUOTES, TRADES
from tapewatch.market.tickers import is_like_a_future

_TABLES = {"trades": TRADES, "quotes": QUOTES, "bars": DELIVERED_BARS}
# Tables to read a day's symbols from, the cheapest first.
_LISTING_ORDER = ("bars", "quotes", "trades")
_LISTED_DAYS = 30
_EMPTY_FRAME_BYTES = 512


class RecordedTape:
    """Flat files under one folder or URL. Files added later are served after a restart.

    Args:
        root: holds the vendor's prefixes (`us_stocks_sip`, …).
        cache_bytes: memory for recently used days.
    """

    name = "recorded"

    def __init__(self, root: str, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._source = FlatFileSource(root)
        self._frames: LruCache[pl.DataFrame] = LruCache(cache_bytes, _frame_bytes)
        self._available: dict[Market, dict[str, list[dt.date]]] = {}
        self._symbols: dict[Market, list[str]] = {}
        self._loaded: set[tuple[str, str, dt.date]] = set()
        self._lock = threading.Lock()

    def may_have(self, symbol: str) -> bool:
        """True if the symbol's market has any file: its symbols are unknown until it is read."""
        return bool(self._days(self.market(symbol)))

    def market(self, symbol: str) -> Market:
        """The market of the symbol's prefix; without one, futures if their files have the symbol or its name is a contract's."""
        market = market_of(symbol)
        if market is not Market.STOCKS or not self._days(Market.FUTURES):
            return market
        is_future = symbol in self.symbols(Market.FUTURES) or is_like_a_future(symbol)
        return Market.FUTURES if is_future else market

    def symbols(self, market: Market) -> list[str]:
        """The symbols in the market's last 30 recorded days, ascending."""
        days = self._days(market)
        with self._lock:
            if market not in self._symbols:
                table = next((name for name in _LISTING_ORDER if days.get(name)), None)
                found = self._read_symbols(market, table, days[table][-_LISTED_DAYS:]) if table else set()
                self._symbols[market] = sorted(found)
            return self._symbols[market]

    def symbols_on(self, market: Market, date: dt.date) -> list[str]:
        """The symbols in the day's bars, or in its trades and quotes if there are no bars."""
        there = [table for table, days in self._days(market).items() if date in days]
        tables = ["bars"] if "bars" in there else there
        return sorted({symbol for table in tables for symbol in self._read_symbols(market, table, [date])})

    def load(self, table: str, symbols: Sequence[str], date: dt.date) -> None:
        """Read the day of several symbols in one pass over its file."""
        if len(symbols) < 2 or date not in self._days(self.market(symbols[0])).get(table, ()):
            return
        with self._lock:
            missing = [symbol for symbol in symbols if (table, symbol, date) not in self._loaded]
            self._loaded.update((table, symbol, date) for symbol in missing)
        if missing:
            whole = self._read(table, Partition(date, self.market(symbols[0])), missing)
            parts = whole.partition_by("symbol", as_dict=True)
            for symbol in missing:
                part = parts.get((symbol,), _TABLES[table].empty())
                self._frames.get((table, symbol, date), lambda part=part: part)  # type: ignore[misc]

    def describe(self, symbol: str) -> Instrument | None:  # noqa: ARG002 - the signature of `MarketTape`
        """None: flat files hold no attributes."""
        return None

    def first_day(self, market: Market) -> dt.date:
        return min((days[0] for days in self._days(market).values()), default=dt.date.max)

    def last_day(self, market: Market) -> dt.date:
        return max((days[-1] for days in self._days(market).values()), default=dt.date(1970, 1, 1))

    def days(self, market: Market) -> list[dt.date]:
        return sorted({day for days in self._days(market).values() for day in days})

    def trades(self, symbol: str, date: dt.date) -> pl.DataFrame:
        return self._frame("trades", symbol, date)

    def quotes(self, symbol: str, date: dt.date) -> pl.DataFrame:
        return self._frame("quotes", symbol, date)

    def bars(self, symbol: str, date: dt.date) -> pl.DataFrame:
        """The recorded minute bars, or bars built from the trades if none are recorded."""
        recorded = self._frame("bars", symbol, date)
        return built_bars(self.market(symbol), date, self.prices(symbol, date)) if recorded.is_empty() else recorded

    def prices(self, symbol: str, date: dt.date) -> pl.DataFrame:
        """As in `MarketTape`, but empty for an index: its files hold bars only."""
        if self.market(symbol) is Market.FOREX:
            return middles(self.quotes(symbol, date))
        return self.trades(symbol, date)

    def truth(self, symbol: str, date: dt.date) -> None:
        """A recorded tape has no labels."""

    def _frame(self, table: str, symbol: str, date: dt.date) -> pl.DataFrame:
        market = self.market(symbol)
        if date not in self._days(market).get(table, ()):
            return _TABLES[table].empty()
        return self._frames.get((table, symbol, date), lambda: self._read(table, Partition(date, market), [symbol]))

    def _read(self, table: str, partition: Partition, symbols: list[str] | None) -> pl.DataFrame:
        ask = {"trades": self._source.trades, "quotes": self._source.quotes, "bars": self._source.bars}[table]
        load: Load = ask(partition, symbols)
        whole: pl.DataFrame = pl.concat([_TABLES[table].empty(), *load])
        return whole

    def _read_symbols(self, market: Market, table: str, days: list[dt.date]) -> set[str]:
        frames = (self._read(table, Partition(day, market), None) for day in days)
        return {str(symbol) for frame in frames for symbol in frame["symbol"].unique()}

    def _days(self, market: Market) -> dict[str, list[dt.date]]:
        with self._lock:
            if market not in self._available:
                found = self._source.available(market)
                self._available[market] = {table: sorted(days) for table, days in found.items() if table in _TABLES}
            return self._available[market]


def _frame_bytes(frame: pl.DataFrame) -> int:
    return int(frame.estimated_size()) + _EMPTY_FRAME_BYTES
