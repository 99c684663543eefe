"""Minute bars of a plan that counts calls: many days in one call, handed over day by day.

A symbol's 30 days fit the vendor's largest page, so a month costs what a day does.
"""

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from tapewatch.feeds.rest.kinds import Window
from tapewatch.feeds.source import Load
from tapewatch.market.instruments import Market, Partition, Session, session_of, trading_days
from tapewatch.market.tables import DELIVERED_BARS

#: Days of minute bars that fit one page of the largest size, a market that never closes included.
BARS_CHUNK_DAYS: Final = 30
#: How many days of symbols may lie in memory: some 200 MB.
_MAX_SYMBOL_DAYS: Final = 3_000

#: Fetches the window of each symbol in order, counting into the load; a symbol without rows yields no frame.
Fetch = Callable[[Load, Sequence[tuple[str, Window]]], Iterator[pl.DataFrame]]


def chunk_days(symbols: int) -> int:
    """How many days are fetched at a time for so many symbols."""
    return max(1, min(BARS_CHUNK_DAYS, _MAX_SYMBOL_DAYS // max(1, symbols)))


@dataclass
class _Chunk:
    symbols: tuple[str, ...]
    window: Window
    frames: dict[str, pl.DataFrame] = field(default_factory=dict)
    is_whole: bool = False

    def covers(self, session: Session, symbols: tuple[str, ...]) -> bool:
        inside = self.window.start <= session.day_start and session.day_end <= self.window.end
        return self.is_whole and inside and symbols == self.symbols


class BarsAhead:
    """The bars of one market up to a day, fetched in chunks as their first day is asked for.

    Args:
        fetch: asks the vendor.
        market: whose bars.
        last: no day after this one will be asked for.
    """

    def __init__(self, fetch: Fetch, market: Market, last: dt.date) -> None:
        self._fetch = fetch
        self._market = market
        self._last = last
        self._chunk: _Chunk | None = None

    def day(self, partition: Partition, symbols: Sequence[str]) -> Load:
        """The day's bars (`DELIVERED_BARS`), a frame a symbol; a chunk's duplicates, quarantine and notices come with the
        first of its days."""
        wanted = tuple(sorted(set(symbols)))
        load = Load(iter(()))
        if self._chunk is not None and self._chunk.covers(partition.session, wanted):
            load.frames = self._kept(load, self._chunk, partition)
        else:
            self._chunk = None
            load.frames = self._fetched(load, partition, wanted)
        return load

    def _fetched(self, load: Load, partition: Partition, symbols: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        end = min(self._last, partition.date + dt.timedelta(days=chunk_days(len(symbols)) - 1))
        days = trading_days(self._market, partition.date, max(end, partition.date))
        sessions = [session for day in days if (session := session_of(self._market, day))]
        chunk = _Chunk(symbols, Window.spanning(sessions[0], sessions[-1]))
        told = Load(iter(()))
        for frame in self._fetch(told, [(symbol, chunk.window) for symbol in symbols]):
            symbol = str(frame["symbol"][0])
            chunk.frames[symbol] = frame
            rows = _of_day(frame, partition.session)
            load.source_rows += rows.height
            if rows.height:
                yield rows
        chunk.is_whole = True
        self._chunk = chunk
        load.duplicates, load.quarantined = told.duplicates, told.quarantined
        load.source_rows += told.duplicates + told.quarantine.height
        load.notices += told.notices

    def _kept(self, load: Load, chunk: _Chunk, partition: Partition) -> Iterator[pl.DataFrame]:
        for symbol in chunk.symbols:
            rows = _of_day(chunk.frames.get(symbol, DELIVERED_BARS.empty()), partition.session)
            load.source_rows += rows.height
            if rows.height:
                yield rows
            else:
                load.notices.append(
                    f"no bars for {symbol} on {partition.date}: the symbol is known, but has no trading that day"
                )


def _of_day(frame: pl.DataFrame, session: Session) -> pl.DataFrame:
    time = pl.col("time").to_physical()
    return frame.filter(time.is_between(session.day_start, session.day_end, closed="left"))
