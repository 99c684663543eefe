"""A tape on which a symbol changes its name in the day: up to a moment the rows bear the old name, from it on, the new one.

Bars part at a whole minute: rename at one.
"""

import datetime as dt
from collections.abc import Callable, Sequence

import polars as pl

from tapewatch.emulator.faults import Rename
from tapewatch.emulator.synthetic.universe import Instrument
from tapewatch.emulator.tape.market_tape import MarketTape
from tapewatch.emulator.vendor.times import date_of
from tapewatch.market.instruments import Market
from tapewatch.market.tables import SYMBOL


class RenamedTape:
    """A `MarketTape` over another.

    Args:
        tape: what is renamed.
        renames: which symbols, to what, and when; the new names must be unknown to the tape.
    """

    def __init__(self, tape: MarketTape, renames: Sequence[Rename]) -> None:
        self._tape = tape
        self._old = {rename.symbol: rename for rename in renames}
        self._new = {rename.to: rename for rename in renames}
        self.name = tape.name

    def knows(self, symbol: str) -> bool:
        """See `MarketTape`."""
        return symbol in self._new or self._tape.knows(symbol)

    def market(self, symbol: str) -> Market:
        """See `MarketTape`."""
        return self._tape.market(self._new[symbol].symbol if symbol in self._new else symbol)

    def symbols(self, market: Market) -> list[str]:
        """See `MarketTape`."""
        return sorted([*self._tape.symbols(market), *(new for new in self._new if self.market(new) is market)])

    def symbols_on(self, market: Market, date: dt.date) -> list[str]:
        """See `MarketTape`."""
        return sorted([*self._tape.symbols_on(market, date), *(new for new in self._new if self.market(new) is market)])

    def load(self, table: str, symbols: Sequence[str], date: dt.date) -> None:
        """See `MarketTape`."""
        self._tape.load(table, sorted({self._new[s].symbol if s in self._new else s for s in symbols}), date)

    def describe(self, symbol: str) -> Instrument | None:
        """See `MarketTape`."""
        return self._tape.describe(self._new[symbol].symbol if symbol in self._new else symbol)

    def first_day(self, market: Market) -> dt.date:
        """See `MarketTape`."""
        return self._tape.first_day(market)

    def last_day(self, market: Market) -> dt.date | None:
        """See `MarketTape`."""
        return self._tape.last_day(market)

    def days(self, market: Market) -> list[dt.date] | None:
        """See `MarketTape`."""
        return self._tape.days(market)

    def trades(self, symbol: str, date: dt.date) -> pl.DataFrame:
        """See `MarketTape`."""
        return self._named(self._tape.trades, symbol, date)

    def quotes(self, symbol: str, date: dt.date) -> pl.DataFrame:
        """See `MarketTape`."""
        return self._named(self._tape.quotes, symbol, date)

    def bars(self, symbol: str, date: dt.date) -> pl.DataFrame:
        """See `MarketTape`."""
        return self._named(self._tape.bars, symbol, date)

    def prices(self, symbol: str, date: dt.date) -> pl.DataFrame:
        """See `MarketTape`."""
        return self._named(self._tape.prices, symbol, date)

    def truth(self, symbol: str, date: dt.date) -> pl.DataFrame | None:
        """See `MarketTape`."""
        return self._tape.truth(self._new[symbol].symbol if symbol in self._new else symbol, date)

    def _named(self, rows_of: Callable[[str, dt.date], pl.DataFrame], symbol: str, date: dt.date) -> pl.DataFrame:
        time = pl.col("time").dt.epoch("ns")
        if symbol in self._new:
            rename = self._new[symbol]
            name = pl.lit(symbol, dtype=SYMBOL).alias("symbol")
            rows = rows_of(rename.symbol, date).with_columns(name)
            if date == self._day(rename):
                return rows.filter(time >= rename.at_ns)
            return rows if date > self._day(rename) else rows.clear()
        rows = rows_of(symbol, date)
        if symbol not in self._old or date < self._day(self._old[symbol]):
            return rows
        rename = self._old[symbol]
        return rows.filter(time < rename.at_ns) if date == self._day(rename) else rows.clear()

    def _day(self, rename: Rename) -> dt.date:
        return date_of(rename.at_ns, self._tape.market(rename.symbol))
