"""Fetches minute bars of many days in one call, for plans that count calls, and returns them day by day.

30 days of a symbol fit the vendor's largest page, so a month costs as many calls as a day.
"""

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from tapewatch.feeds.rest.kinds import Window
from tapewatch.feeds.source import Load
from tapewatch.market.instruments import Market, Partition, Session, session_of, trading_days
from tapewatch.market.tables.tape import DELIVERED_BARS

#: Days of minute bars that fit one page of the largest size, even of a market that never closes.
BARS_CHUNK_DAYS: Final = 30
#: Most days times symbols in memory: some 200 MB.
_MAX_SYMBOL_DAYS: Final = 3_000

#: Fetches the window of each symbol in order and adds to the load's counters; a symbol without rows yields no frame.
Fetch = Callable[[Load, Sequence[tuple[str, Window]]], Iterator[pl.DataFrame]]


def chunk_days(symbols: int) -> int:
    """How many days to fetch at a time for this number of symbols."""
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
    """The bars of one market up to a day; requesting a day fetches the chunk of days that begins with it.

    Args:
        last: the last day that will be requested.
    """

    def __init__(self, fetch: Fetch, market: Market, last: dt.date) -> None:
        self._fetch = fetch
        self._market = market
        self._last = last
        self._chunk: _Chunk | None = None

    def day(self, partition: Partition, symbols: Sequence[str]) -> Load:
        """The day's bars (`DELIVERED_BARS`), a frame per symbol; the first day of a chunk reports the whole chunk's
        duplicates, quarantine and notices."""
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
        counted = Load(iter(()))
        for frame in self._fetch(counted, [(symbol, chunk.window) for symbol in symbols]):
            symbol = str(frame["symbol"][0])
            chunk.frames[symbol] = frame
            rows = _of_day(frame, partition.session)
            load.source_rows += rows.height
            if rows.height:
                yield rows
        chunk.is_whole = True
        self._chunk = chunk
        load.duplicates, load.quarantined = counted.duplicates, counted.quarantined
        load.source_rows += counted.duplicates + counted.quarantine.height
        load.notices += counted.notices

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
