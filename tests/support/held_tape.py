"""A tape of which a test keeps one day back: what loads it stands still there, however long the test looks away."""

import datetime as dt
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import polars as pl

from tapewatch.emulator.tape.market_tape import MarketTape


class HeldTape:
    """A `MarketTape` over another. Nobody is given the `trades` or `quotes` (`table`) of the held day before its release."""

    def __init__(self, tape: MarketTape, table: str, day: dt.date) -> None:
        self._tape, self._held = tape, (table, day)
        self._released = threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tape, name)

    def trades(self, symbol: str, date: dt.date) -> pl.DataFrame:
        """See `MarketTape`."""
        return self._given("trades", symbol, date)

    def quotes(self, symbol: str, date: dt.date) -> pl.DataFrame:
        """See `MarketTape`."""
        return self._given("quotes", symbol, date)

    @contextmanager
    def held(self) -> Iterator[None]:
        """The day is kept back until the block has ended."""
        try:
            yield
        finally:
            self._released.set()

    def _given(self, table: str, symbol: str, date: dt.date) -> pl.DataFrame:
        if (table, date) == self._held:
            self._released.wait()
        return getattr(self._tape, table)(symbol, date)
