"""Every bar of a symbol, lake and live, as candles of a view. Days are read when a view first reaches back to them."""

import datetime as dt
import math
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace

import polars as pl

from dashboard.reading.levels import WIDTHS, Ladder, grouped, rows_before, rows_between
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Market, Partition
from tapewatch.market.tables.live import LIVE_BARS
from tapewatch.market.tables.tape import BARS
from tapewatch.store.database.database import Database
from tapewatch.store.lake.lake import Lake, MissingPartitionError
from tapewatch.store.lake.many_days import read_symbol

#: Days that are read together; the newest days, which may still be rewritten, are blocks of their own.
_BLOCK_DAYS, _FRESH_DAYS = 64, 2
#: New days are looked for this often: a long lake takes a while to list, and the present comes from the database.
_LOOK_AGAIN_S = 30.0
#: A chart asks this long after the notice of a new bar (`candles.mjs`), so it gets that bar although views share their reading.
_LIVE_S = 0.2
#: Minute bars of all symbols in memory: some 120 bytes each.
_MOST_BARS = 16_000_000
_BAND_CANDLES, _BAND_DEVIATIONS = 20, 2.0
_BAR_COLUMNS = ["time", "open", "high", "low", "close", "volume", "vwap"]
#: Columns of a view: `time` in seconds, VWAP of the market day so far, Bollinger bands of 20 candles.
VIEW_COLUMNS = ("time", "open", "high", "low", "close", "volume", "vwap", "upper", "lower")


@dataclass(frozen=True, slots=True)
class View:
    """Candles of a stretch (`VIEW_COLUMNS`), their width in minutes, and the first and last known bar (ns; 0 without any)."""

    candles: pl.DataFrame
    minutes: int
    first: int
    last: int


@dataclass
class _History:
    """One symbol's days: those not read yet, and ladders of those read, both oldest first."""

    unread: list[Partition]
    ladders: list[Ladder] = field(default_factory=list)
    fresh: dict[Partition, tuple[int, Ladder | None]] = field(default_factory=dict)
    #: When the present's bars were read, after which time, and they.
    live: tuple[float, int, list[Ladder]] = (-math.inf, 0, [])
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def read(self) -> list[Ladder]:
        return [*self.ladders, *(ladder for _, ladder in self.fresh.values() if ladder)]

    @property
    def bars(self) -> int:
        return sum(ladder.levels[0].height for ladder in self.read)


class Histories:
    """Histories of symbols, the least recently viewed forgotten first. Safe to share between threads.

    Args:
        most_bars: bars to keep, of all symbols.
        live_s: views of a symbol within this time share the present's bars.
    """

    def __init__(self, lake: Lake, database: Database, *, most_bars: int = _MOST_BARS, live_s: float = _LIVE_S) -> None:
        self._lake, self._database, self._most_bars, self._live_s = lake, database, most_bars, live_s
        self._kept: OrderedDict[tuple[Market, str], _History] = OrderedDict()
        self._days: dict[Market, tuple[float | None, list[Partition]]] = {}
        self._lock = threading.Lock()

    def view(self, market: Market, symbol: str, start: int, end: int, most: int) -> View:
        """Candles that overlap [start, end) (ns UTC), as narrow as `most` of them allow, and those beside it.

        Raises:
            LakeError: a partition cannot be read.
        """
        history = self._history(market, symbol)
        with history.lock:
            self._refresh(history, market, symbol)
            self._read_back(history, market, symbol, start)
            ladders = history.read
            after = ladders[-1].last + NS_PER_MINUTE if ladders else 0
            now, (read_s, read_after, live) = time.monotonic(), history.live
            if now - read_s >= self._live_s or read_after != after:
                live = self._live(market, symbol, after)
                history.live = now, after, live
            view = _view([*history.read, *live], start, end, most)
            # A view of a pause has candles to go back to, and its bands; more is read when a view reaches it.
            while history.unread and int((view.candles["time"] * NS_PER_SECOND < start).sum()) < _BAND_CANDLES:
                self._read_back(history, market, symbol, history.unread[-1].session.day_start)
                view = _view([*history.read, *live], start, end, most)
            if history.unread:
                view = replace(view, first=history.unread[0].session.day_start)
        self._forget_others(market, symbol)
        return view

    def extent(self, market: Market, symbol: str, days: int) -> tuple[int, int]:
        """From the start of the first to the end of the last of the market's newest days with bars (ns, half open), live bars included.

        (0, 0) if there are none.
        """
        parts = self._partitions(market)[-days:]
        bounds = [(day.session.regular_start, day.session.regular_end) for day in parts]
        for live in self._live(market, symbol, parts[-1].session.day_end if parts else 0):
            bounds.append((live.first, live.last + NS_PER_MINUTE))
        bounds = bounds[-days:]
        return (bounds[0][0], bounds[-1][1]) if bounds else (0, 0)

    def _history(self, market: Market, symbol: str) -> _History:
        with self._lock:
            key = market, symbol
            if key not in self._kept:
                self._kept[key] = _History(list(self._partitions(market)))
            self._kept.move_to_end(key)
            return self._kept[key]

    def _partitions(self, market: Market) -> list[Partition]:
        """The days as they were listed last. A long lake takes a while to list: only the first view waits for it."""
        looked, days = self._days.get(market, (None, []))
        if looked is None:
            return self._list(market)
        if time.monotonic() - looked >= _LOOK_AGAIN_S:
            self._days[market] = time.monotonic(), days
            threading.Thread(target=self._list, args=(market,), daemon=True).start()
        return days

    def _list(self, market: Market) -> list[Partition]:
        days = self._lake.partitions(BARS, market)
        self._days[market] = time.monotonic(), days
        return days

    def _refresh(self, history: _History, market: Market, symbol: str) -> None:
        """Read the newest days again if they were rewritten, and days that are new."""
        days = self._partitions(market)
        for day in days[-_FRESH_DAYS:]:
            try:
                written = self._lake.written_ns(BARS, day)
            except MissingPartitionError:
                continue
            if history.fresh.get(day, (None, None))[0] != written:
                history.fresh[day] = written, self._read(market, symbol, [day])
        settled = sorted(set(history.fresh) - set(days[-_FRESH_DAYS:]))
        history.ladders += [ladder for day in settled if (ladder := history.fresh.pop(day)[1])]
        history.fresh = dict(sorted(history.fresh.items()))
        history.unread = [day for day in history.unread if day not in history.fresh and day not in settled]

    def _read_back(self, history: _History, market: Market, symbol: str, start: int) -> None:
        while history.unread and history.unread[-1].session.day_end > start:
            block, history.unread = history.unread[-_BLOCK_DAYS:], history.unread[:-_BLOCK_DAYS]
            if ladder := self._read(market, symbol, block):
                history.ladders.insert(0, ladder)

    def _read(self, market: Market, symbol: str, days: list[Partition]) -> Ladder | None:
        bars = read_symbol(self._lake, BARS, days, symbol, _BAR_COLUMNS)
        return Ladder.of(bars, market) if bars.height else None

    def _live(self, market: Market, symbol: str, after: int) -> list[Ladder]:
        """Bars of the present that the lake does not hold yet: one ladder, or none."""
        bars = self._database.read(LIVE_BARS, market=market, symbol=symbol, start=_time(after), where={"clock": "1m"})
        return [Ladder.of(bars.select(_BAR_COLUMNS), market)] if bars.height else []

    def _forget_others(self, market: Market, symbol: str) -> None:
        with self._lock:
            while len(self._kept) > 1 and sum(h.bars for h in self._kept.values()) > self._most_bars:
                oldest = next(iter(self._kept))
                if oldest == (market, symbol):
                    return
                del self._kept[oldest]


def _view(ladders: list[Ladder], start: int, end: int, most: int) -> View:
    if not ladders:
        return View(pl.DataFrame(schema=dict.fromkeys(VIEW_COLUMNS, pl.Float64)), WIDTHS[0], 0, 0)
    for level, minutes in enumerate(WIDTHS):
        low = rows_before(ladders, level, start - minutes * NS_PER_MINUTE + 1)
        high = rows_before(ladders, level, end)
        if high - low <= most:
            break
    each = max(-(-(high - low) // most), 1)
    # The bands need candles before the first.
    margin = (most + _BAND_CANDLES) * each
    wide = grouped(rows_between(ladders, level, max(low - margin, 0), high + margin), each)
    # So few rows take less time than to wake other threads.
    candles = wide.select_seq(pl.col("time") / NS_PER_SECOND, *_BAR_COLUMNS[1:-1], _VWAP, *_BANDS)
    return View(candles, WIDTHS[level] * each, ladders[0].first, ladders[-1].last)


_VWAP = pl.when(pl.col("day_volume") > 0).then(pl.col("day_notional") / pl.col("day_volume")).alias("vwap")
_MEAN = pl.col("close").rolling_mean(_BAND_CANDLES)
_DEVIATION = pl.col("close").rolling_std(_BAND_CANDLES, ddof=0)
_BANDS = (
    (_MEAN + _BAND_DEVIATIONS * _DEVIATION).alias("upper"),
    (_MEAN - _BAND_DEVIATIONS * _DEVIATION).alias("lower"),
)


def _time(ns: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(ns // NS_PER_SECOND, dt.UTC)
