"""The vendor's flat files as a source of the tape: from a folder or any fsspec URL, in constant memory."""

import datetime as dt
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import fsspec
import polars as pl

from tapewatch.feeds.files.blocks import BLOCK_BYTES
from tapewatch.feeds.files.layouts import LAYOUTS, Layout
from tapewatch.feeds.files.ordering import MEMORY_BYTES
from tapewatch.feeds.files.quarantine import Bounds
from tapewatch.feeds.files.reader import FileReader
from tapewatch.feeds.source import Load, MissingDayError, SourceError, session_of_partition
from tapewatch.market.instruments import Market, Partition, zone_of

#: Reads the variables of proxies, as the other file systems do unasked.
_THROUGH_PROXIES = {"client_kwargs": {"trust_env": True}}
_SUFFIXES = (".csv.gz", ".csv")
_YEAR = re.compile(r"(\d{4})(?:\.csv(?:\.gz)?)?$")
_DATED = re.compile(r"/\d{4}/\d{2}/(\d{4}-\d{2}-\d{2})\.csv(?:\.gz)?$")


@dataclass(frozen=True, slots=True, order=True)
class FlatFile:
    """An existing file. `fingerprint` changes when the vendor replaces it: its ETag, else size and time."""

    table: str
    date: dt.date
    path: str
    fingerprint: str


class FlatFileSource:
    """A folder or fsspec URL laid out as the vendor's bucket: `{market}/{table}/YYYY/MM/YYYY-MM-DD.csv[.gz]`.

    Args:
        root: the parent of the markets' folders: a path, `s3://flatfiles`, `memory://…`.
        clock: the present, int64 ns UTC; later rows are refused.
        block_bytes, memory_bytes: text per block, and parsed rows in memory before the rest goes to a temporary folder.
    """

    name = "flat-files"

    def __init__(
        self,
        root: str,
        *,
        storage_options: dict[str, Any] | None = None,
        clock: Callable[[], int] = time.time_ns,
        block_bytes: int = BLOCK_BYTES,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        self.root = str(root).rstrip("/")
        options = _THROUGH_PROXIES if self.root.startswith(("http://", "https://")) else {}
        self._fs, self._base = fsspec.core.url_to_fs(self.root, **{**options, **(storage_options or {})})
        self._clock = clock
        self._block_bytes, self._memory_bytes = block_bytes, memory_bytes

    def trades(self, partition: Partition, symbols: Sequence[str] | None = None) -> Load:
        """The day's trades (`TRADES`); see `bars` for errors."""
        return self._load("trades", partition, symbols)

    def quotes(self, partition: Partition, symbols: Sequence[str] | None = None) -> Load:
        """The day's quotes (`QUOTES`); see `bars` for errors."""
        return self._load("quotes", partition, symbols)

    def bars(self, partition: Partition, symbols: Sequence[str] | None = None) -> Load:
        """The day's minute bars (`DELIVERED_BARS`, vwap null); no frames if only other tables of that day exist.

        Raises:
            SourceError: the market does not trade that day, or has no file of it; while iterating: the file is truncated, its
                header lacks a column, or it has more refused rows than a file of its kind can have.
        """
        return self._load("bars", partition, symbols)

    def truth(self, partition: Partition, symbols: Sequence[str] | None = None) -> pl.DataFrame | None:  # noqa: ARG002
        """None: recorded tape has no labels."""
        return None

    def day_bars(self, market: Market, year: int, symbols: Sequence[str] | None = None) -> Load:
        """A year of daily bars (`DELIVERED_BARS`; `time` is midnight in the market's zone), from one file per year
        (`day_aggs_v1/2013.csv.gz`) or from the vendor's daily files.

        Raises:
            SourceError: there is neither, or as `bars`.
        """
        layout = _day_bars_of(market)
        start, end = (int(dt.datetime(y, 1, 1, tzinfo=zone_of(market)).timestamp()) * 10**9 for y in (year, year + 1))
        stem = f"{self._base}/{layout.prefix}/{year}"
        paths = [p for s in _SUFFIXES if self._fs.exists(p := stem + s)][:1]
        paths = paths or [
            file.path for file in self.files(market) if file.table == "day_bars" and file.date.year == year
        ]
        if not paths:
            raise SourceError(
                f"no daily bars of {market} for {year}: expected {stem}.csv.gz or {stem}/MM/{year}-MM-DD.csv.gz"
            )
        return self._start(layout, paths, Bounds(start, end, self._clock()), symbols)

    def day_bar_years(self, market: Market) -> list[int]:
        """The years that have daily bars, ascending.

        Raises:
            SourceError: the vendor has no daily bars of the market.
        """
        folder = f"{self._base}/{_day_bars_of(market).prefix}"
        if not self._fs.exists(folder):
            return []
        self._fs.invalidate_cache(folder)
        names = (path.removesuffix("/").rsplit("/", 1)[-1] for path in self._fs.ls(folder, detail=False))
        return sorted({int(match[1]) for name in names if (match := _YEAR.match(name))})

    def files(self, market: Market) -> list[FlatFile]:
        """Every dated file of a market, by table, then date."""
        found = []
        for (of_market, table), layout in LAYOUTS.items():
            folder = f"{self._base}/{layout.prefix}"
            if of_market is not market or not self._fs.exists(folder):
                continue
            self._fs.invalidate_cache(folder)
            for path, info in self._fs.find(folder, detail=True).items():
                if match := _DATED.search(path):
                    found.append(FlatFile(table, dt.date.fromisoformat(match[1]), path, _fingerprint(info)))
        return sorted(found)

    def available(self, market: Market) -> dict[str, list[dt.date]]:
        """The days of each table of a market (`trades`, `quotes`, `bars`, `day_bars`) that have a file."""
        days: dict[str, list[dt.date]] = {}
        for file in self.files(market):
            days.setdefault(file.table, []).append(file.date)
        return days

    def _load(self, table: str, partition: Partition, symbols: Sequence[str] | None) -> Load:
        market, date, session = partition.market, partition.date, session_of_partition(partition)
        layout = LAYOUTS.get((market, table))
        path = self._find(layout, date) if layout else None
        if layout and path:
            return self._start(layout, [path], Bounds(session.day_start, session.day_end, self._clock()), symbols)
        others = [other for (of_market, _), other in LAYOUTS.items() if of_market is market]
        if any(self._find(other, date) for other in others):
            return Load(iter(()))
        expected = (
            self._stem(layout or others[0], date) + _SUFFIXES[0] if others else f"{self.root}/{market.flat_file_prefix}"
        )
        raise MissingDayError(f"no flat file of {market} for {date}: expected {expected}")

    def _stem(self, layout: Layout, date: dt.date) -> str:
        return f"{self._base}/{layout.prefix}/{date:%Y/%m}/{date}"

    def _find(self, layout: Layout, date: dt.date) -> str | None:
        stem = self._stem(layout, date)
        return next((stem + suffix for suffix in _SUFFIXES if self._fs.exists(stem + suffix)), None)

    def _start(self, layout: Layout, paths: list[str], bounds: Bounds, symbols: Sequence[str] | None) -> Load:
        wanted = None if symbols is None else frozenset(symbols)
        reader = FileReader(self._fs, layout, bounds, wanted, self._block_bytes, self._memory_bytes)
        load = Load(iter(()))
        load.frames = reader.frames(paths[0], load) if len(paths) == 1 else _merged(reader, paths, load)
        return load


def _day_bars_of(market: Market) -> Layout:
    layout = LAYOUTS.get((market, "day_bars"))
    if layout is None:
        having = ", ".join(of_market for of_market, table in LAYOUTS if table == "day_bars")
        raise SourceError(f"the flat files hold no daily bars of {market}, only of {having}")
    return layout


def _merged(reader: FileReader, paths: list[str], load: Load) -> Iterator[pl.DataFrame]:
    frames = [frame for path in paths for frame in reader.frames(path, load)]
    if frames:
        yield pl.concat(frames).sort(reader.layout.table.sort)


def _fingerprint(info: Mapping[str, Any]) -> str:
    tag = info.get("ETag") or info.get("etag")
    if tag:
        return str(tag).strip('"')
    changed = next((info[key] for key in ("mtime", "LastModified", "last_modified", "created") if key in info), "")
    return f"{info.get('size')}-{changed}"
