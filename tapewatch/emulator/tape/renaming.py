"""A tape on which symbols change their names within a day."""

import datetime as dt
from collections.abc import Callable, Sequence

import polars as pl

from tapewatch.emulator.faults import Rename
from tapewatch.emulator.synthetic.universe import Instrument
from tapewatch.emulator.tape.market_tape import MarketTape
from tapewatch.emulator.vendor.times import date_of
from tapewatch.market.instruments import Market
from tapewatch.market.tables.tape import SYMBOL


class RenamedTape:
    """A `MarketTape` over another. Rows carry the old name before the time of a change and the new name from then on.

    Args:
        tape: the tape without changes.
        renames: the changes, at whole minutes. The new names must be unknown to the tape.
    """

    def __init__(self, tape: MarketTape, renames: Sequence[Rename]) -> None:
        self._tape = tape
        self._old = {rename.symbol: rename for rename in renames}
        self._new = {rename.to: rename for rename in renames}
        self.name = tape.name

    def may_have(self, symbol: str) -> bool:
        return symbol in self._new or self._tape.may_have(symbol)

    def market(self, symbol: str) -> Market:
        return self._tape.market(self._original(symbol))

    def symbols(self, market: Market) -> list[str]:
        return self._with_new(self._tape.symbols(market), market)

    def symbols_on(self, market: Market, date: dt.date) -> list[str]:
        return self._with_new(self._tape.symbols_on(market, date), market)

    def load(self, table: str, symbols: Sequence[str], date: dt.date) -> None:
        self._tape.load(table, sorted({self._original(symbol) for symbol in symbols}), date)

    def describe(self, symbol: str) -> Instrument | None:
        return self._tape.describe(self._original(symbol))

    def first_day(self, market: Market) -> dt.date:
        return self._tape.first_day(market)

    def last_day(self, market: Market) -> dt.date | None:
        return self._tape.last_day(market)

    def days(self, market: Market) -> list[dt.date] | None:
        return self._tape.days(market)

    def trades(self, symbol: str, date: dt.date) -> pl.DataFrame:
        return self._named(self._tape.trades, symbol, date)

    def quotes(self, symbol: str, date: dt.date) -> pl.DataFrame:
        return self._named(self._tape.quotes, symbol, date)

    def bars(self, symbol: str, date: dt.date) -> pl.DataFrame:
        return self._named(self._tape.bars, symbol, date)

    def prices(self, symbol: str, date: dt.date) -> pl.DataFrame:
        return self._named(self._tape.prices, symbol, date)

    def truth(self, symbol: str, date: dt.date) -> pl.DataFrame | None:
        return self._tape.truth(self._original(symbol), date)

    def _named(self, rows_of: Callable[[str, dt.date], pl.DataFrame], symbol: str, date: dt.date) -> pl.DataFrame:
        rename, is_new = self._new.get(symbol) or self._old.get(symbol), symbol in self._new
        rows = rows_of(self._original(symbol), date)
        if rename is None:
            return rows
        rows = rows.with_columns(pl.lit(symbol, dtype=SYMBOL).alias("symbol")) if is_new else rows
        change = self._day(rename)
        if date == change:
            is_after = pl.col("time").dt.epoch("ns") >= rename.at_ns
            return rows.filter(is_after if is_new else ~is_after)
        return rows if (date > change) == is_new else rows.clear()

    def _original(self, symbol: str) -> str:
        return self._new[symbol].symbol if symbol in self._new else symbol

    def _with_new(self, symbols: list[str], market: Market) -> list[str]:
        return sorted([*symbols, *(new for new in self._new if self.market(new) is market)])

    def _day(self, rename: Rename) -> dt.date:
        return date_of(rename.at_ns, self._tape.market(rename.symbol))
