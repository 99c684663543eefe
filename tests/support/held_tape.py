"""A tape that holds back one day, so that its reader waits until the test releases it."""

import datetime as dt
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import polars as pl

from tapewatch.emulator.tape.market_tape import MarketTape


class HeldTape:
    """A `MarketTape` over another. Reading the `trades` or `quotes` (`table`) of the held day waits for its release."""

    def __init__(self, tape: MarketTape, table: str, day: dt.date) -> None:
        self._tape, self._held = tape, (table, day)
        self._released = threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tape, name)

    def trades(self, symbol: str, date: dt.date) -> pl.DataFrame:
        return self._released_rows("trades", symbol, date)

    def quotes(self, symbol: str, date: dt.date) -> pl.DataFrame:
        return self._released_rows("quotes", symbol, date)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the day back until the block ends."""
        try:
            yield
        finally:
            self._released.set()

    def _released_rows(self, table: str, symbol: str, date: dt.date) -> pl.DataFrame:
        if (table, date) == self._held:
            self._released.wait()
        return getattr(self._tape, table)(symbol, date)
