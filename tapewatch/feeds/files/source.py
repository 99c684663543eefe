"""The vendor's flat files as a source of the tape: from a folder or any fsspec URL, in constant memory."""

import datetime as dt
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import fsspec
import polars as pl

from tapewatch.feeds.files.blocks import BLOCK_BYTES
from tapewatch.feeds.files.layouts import LAYOUTS, Layout, layouts_of
from tapewatch.feeds.files.ordering import MEMORY_BYTES
from tapewatch.feeds.files.quarantine import Bounds
from tapewatch.feeds.files.reader import FileReader
from tapewatch.feeds.source import Load, MissingDayError, SourceError, session_of_partition
from tapewatch.market.instruments import Market, Partition, zone_of

#: Reads the variables of proxies, as the other file systems do unasked.
_THROUGH_PROXIES = {"client_kwargs": {"trust_env": True}}
_SUFFIXES = (".csv.gz", ".csv")
_EVENING = dt.timedelta(hours=6)
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

    Futures have one such folder a venue (`us_futures_cme`, …), which together are one market.

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

        A notice names each file that is absent although its folder exists.

        Raises:
            MissingDayError: there is no file of that day, in any table.
            SourceError: the market does not trade that day; while iterating: the file is truncated, its header lacks a
                column, a line is too long, or it has more refused rows than a file of its kind can have.
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
        # A futures session begins on the evening before.
        start, end = (
            int((dt.datetime(y, 1, 1, tzinfo=zone_of(market)) - _EVENING).timestamp()) * 10**9 for y in (year, year + 1)
        )
        paths = [path for folder in layout.folders for path in self._year_files(folder, year)]
        if not paths:
            stem = f"{self._base}/{layout.folders[0]}/{year}"
            raise SourceError(
                f"no daily bars of {market} for {year}: expected {stem}.csv.gz or {stem}/MM/{year}-MM-DD.csv.gz"
            )
        reader = self._reader(layout, Bounds(start, end, self._clock()), symbols)
        load = Load(iter(()))
        load.frames = reader.sorted_frames(paths, load)
        return load

    def day_bar_years(self, market: Market) -> list[int]:
        """The years that have daily bars, ascending.

        Raises:
            SourceError: the vendor has no daily bars of the market.
        """
        names = []
        for folder in self._existing(_day_bars_of(market)):
            self._fs.invalidate_cache(folder)
            names += [path.removesuffix("/").rsplit("/", 1)[-1] for path in self._fs.ls(folder, detail=False)]
        return sorted({int(match[1]) for name in names if (match := _YEAR.match(name))})

    def files(self, market: Market) -> list[FlatFile]:
        """Every dated file of a market, by table, then date."""
        found = []
        for layout in layouts_of(market):
            for folder in self._existing(layout):
                self._fs.invalidate_cache(folder)
                for path, info in self._fs.find(folder, detail=True).items():
                    if match := _DATED.search(path):
                        day = dt.date.fromisoformat(match[1])
                        found.append(FlatFile(layout.name, day, path, _fingerprint(info)))
        return sorted(found)

    def available(self, market: Market) -> dict[str, list[dt.date]]:
        """The days of each table of a market (`trades`, `quotes`, `bars`, `day_bars`) that have a file."""
        days: dict[str, dict[dt.date, None]] = {}
        for file in self.files(market):
            days.setdefault(file.table, {})[file.date] = None
        return {table: list(dates) for table, dates in days.items()}

    def is_whole(self, market: Market, table: str, date: dt.date) -> bool:
        """Whether the day's file of a table is there, in a market of several venues that of each."""
        layout = LAYOUTS.get((market, table))
        return layout is not None and len(self._day_files(layout, date)[0]) == len(layout.folders)

    def expect_folder(self) -> None:
        """Check that the folder exists.

        Raises:
            SourceError: it does not; names it.
        """
        if not self._fs.exists(self._base or "/"):
            raise SourceError(
                f"no folder at {self.root}: name the folder of the flat files with --flat-files or TAPEWATCH_FLAT_FILES"
            )

    def expect_market(self, market: Market) -> None:
        """Check that the folder exists and holds a folder of the market.

        Raises:
            SourceError: it does not; names what was expected.
        """
        self.expect_folder()
        tops = market.flat_file_folders
        if not any(self._fs.exists(f"{self._base}/{top}") for top in tops):
            raise SourceError(f"no flat files of {market} in {self.root}: expected a folder {' or '.join(tops)}")

    def _load(self, table: str, partition: Partition, symbols: Sequence[str] | None) -> Load:
        market, date, session = partition.market, partition.date, session_of_partition(partition)
        layouts = {layout.name: layout for layout in layouts_of(market)}
        layout = layouts.get(table)
        load = Load(iter(()))
        found, absent = self._day_files(layout, date) if layout else ([], [])
        if layout and found:
            bounds = Bounds(session.day_start, session.day_end, self._clock())
            load.frames = self._reader(layout, bounds, symbols, len(found)).frames(found, load)
        elif not any(self._day_files(other, date)[0] for other in layouts.values() if other is not layout):
            # A folder of bars alone lacks the bars' file, whichever table is asked for.
            kept = next((other for other in (layout, *layouts.values()) if other and self._existing(other)), layout)
            expected = self._stem((kept or next(iter(layouts.values()))).folders[0], date) + _SUFFIXES[0]
            absent = self._day_files(kept, date)[1] if kept else []
            raise MissingDayError(f"no flat file of {market} for {date}: expected {' or '.join(absent) or expected}")
        load.notices += [f"no {table} of {market} for {date} in {path}: the file is missing" for path in absent]
        return load

    def _day_files(self, layout: Layout, date: dt.date) -> tuple[list[str], list[str]]:
        """The day's files, and those that are absent although their folder exists."""
        found, absent = [], []
        for folder in layout.folders:
            stem = self._stem(folder, date)
            path = next((stem + suffix for suffix in _SUFFIXES if self._fs.exists(stem + suffix)), None)
            if path:
                found.append(path)
            elif self._fs.exists(f"{self._base}/{folder}"):
                absent.append(stem + _SUFFIXES[0])
        return found, absent

    def _year_files(self, folder: str, year: int) -> list[str]:
        """The file of a year, or else the files of its days."""
        stem = f"{self._base}/{folder}/{year}"
        whole = [path for suffix in _SUFFIXES if self._fs.exists(path := stem + suffix)]
        if whole or not self._fs.exists(stem):
            return whole[:1]
        self._fs.invalidate_cache(stem)
        return sorted(path for path in self._fs.find(stem) if _DATED.search(path))

    def _stem(self, folder: str, date: dt.date) -> str:
        return f"{self._base}/{folder}/{date:%Y/%m}/{date}"

    def _existing(self, layout: Layout) -> list[str]:
        return [path for folder in layout.folders if self._fs.exists(path := f"{self._base}/{folder}")]

    def _reader(self, layout: Layout, bounds: Bounds, symbols: Sequence[str] | None, files: int = 1) -> FileReader:
        """A reader; `files` that are read at a time share the memory."""
        wanted = None if symbols is None else frozenset(symbols)
        return FileReader(self._fs, layout, bounds, wanted, self._block_bytes, self._memory_bytes // files)


def _day_bars_of(market: Market) -> Layout:
    layout = LAYOUTS.get((market, "day_bars"))
    if layout is None:
        having = ", ".join(of_market for of_market, table in LAYOUTS if table == "day_bars")
        raise SourceError(f"the flat files hold no daily bars of {market}, only of {having}")
    return layout


def _fingerprint(info: Mapping[str, Any]) -> str:
    tag = info.get("ETag") or info.get("etag")
    if tag:
        return str(tag).strip('"')
    changed = next((info[key] for key in ("mtime", "LastModified", "last_modified", "created") if key in info), "")
    return f"{info.get('size')}-{changed}"
