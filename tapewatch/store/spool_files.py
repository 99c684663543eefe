"""What waits in the spool: names, days and numbers of its files.

Layout: `{root}/{market}/{date}/{producer}-{number:012d}-{table}.arrow`, by the market date of the event. Belongs here: finding
and naming files. Not here: writing them (`spool.py`), merging them (`streaming/ingest.py`).
"""

import datetime as dt
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
from pyarrow import ipc

from tapewatch.market.instruments import CalendarError, Market, Partition, session_of
from tapewatch.market.live_tables import STREAMED
from tapewatch.market.schema import Table

#: The tables that may be spooled, by name.
SPOOLED: dict[str, Table] = {table.name: table for table in STREAMED}
SUFFIX = ".arrow"
#: Key of the Arrow metadata that says what a healer's file holds.
HEAL_KEY = b"tapewatch.heal"
_NS_PER_DAY = 86_400 * 10**9


@dataclass(frozen=True, slots=True, order=True)
class SpoolFile:
    """One waiting file."""

    number: int
    producer: str
    table: str
    path: str
    bytes: int = 0

    @property
    def name(self) -> str:
        """Name of the batch, as the ledger knows it."""
        return f"{self.producer}-{self.number:012d}-{self.table}"


@dataclass(frozen=True, slots=True)
class HealedInterval:
    """One symbol's stretch of the tape that a batch holds whole; int64 ns UTC, half-open."""

    symbol: str
    start: int
    end: int


def market_days(frame: pl.DataFrame, market: Market) -> Iterator[tuple[dt.date | None, pl.DataFrame]]:
    """`frame` by the market day that each row's `time` lies in; None gathers the rows of days without a session."""
    if frame.is_empty():
        return
    times = frame["time"].to_physical()
    low, high = int(times.min()), int(times.max())  # type: ignore[arg-type]
    for day in {_utc_date(low), _utc_date(low) - dt.timedelta(days=1), _utc_date(low) + dt.timedelta(days=1)}:
        bounds = _bounds(market, day)
        if bounds and bounds[0] <= low and high < bounds[1]:
            yield day, frame
            return
    yield from _split(frame, times, market)


def _split(frame: pl.DataFrame, times: pl.Series, market: Market) -> Iterator[tuple[dt.date | None, pl.DataFrame]]:
    utc_days = {_utc_date(int(t)) for t in (times // (_NS_PER_DAY)).unique() * (_NS_PER_DAY)}
    is_open = pl.repeat(value=False, n=frame.height, eager=True)
    for day in sorted({day + dt.timedelta(days=shift) for day in utc_days for shift in (-1, 0, 1)}):
        bounds = _bounds(market, day)
        inside = times.is_between(*bounds, closed="left") if bounds else None
        if inside is not None and inside.any():
            is_open |= inside
            yield day, frame.filter(inside)
    if not is_open.all():
        yield None, frame.filter(~is_open)


def _bounds(market: Market, day: dt.date) -> tuple[int, int] | None:
    try:
        session = session_of(market, day)
    except CalendarError:
        return None
    return (session.day_start, session.day_end) if session else None


def _utc_date(ns: int) -> dt.date:
    return dt.date(1970, 1, 1) + dt.timedelta(days=ns // (_NS_PER_DAY))


def healed_interval(path: str) -> HealedInterval | None:
    """What a healer's file holds whole; None for a file of another producer."""
    with pa.OSFile(path, "rb") as stream, ipc.open_file(stream) as file:
        stated = (file.schema.metadata or {}).get(HEAL_KEY)
    return HealedInterval(*json.loads(stated)) if stated else None


def waiting(root: Path) -> dict[Partition, list[SpoolFile]]:
    """The files that wait in a spool, by partition, in order of their numbers; names alone are read."""
    found: dict[Partition, list[SpoolFile]] = {}
    for market in Market:
        for day, files in market_files(Path(root) / market.value).items():
            found[Partition(day, market)] = files
    return found


def waiting_for(root: Path, partition: Partition, through: Mapping[str, int] | None = None) -> list[SpoolFile]:
    """One partition's files in order of their numbers, with sizes; `through` bounds the numbers of each producer."""
    folder = Path(root) / partition.market.value / partition.date.isoformat()
    files = _files(folder, with_sizes=True)
    return [file for file in files if through is None or file.number <= through.get(file.producer, -1)]


def highest_numbers(files: list[SpoolFile]) -> dict[str, int]:
    """By producer, the newest number among some files: what a run is asked to merge through."""
    newest: Counter[str] = Counter()
    for file in files:
        newest[file.producer] = max(newest[file.producer], file.number)
    return dict(sorted(newest.items()))


def market_files(folder: Path) -> dict[dt.date, list[SpoolFile]]:
    found = {}
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(ValueError):
                day = dt.date.fromisoformat(entry.name)
                if files := _files(Path(entry.path)):
                    found[day] = files
    return found


def _files(folder: Path, *, with_sizes: bool = False) -> list[SpoolFile]:
    files = []
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith(".") or not name.endswith(SUFFIX):
                continue
            producer, number, table = name[: -len(SUFFIX)].split("-", 2)
            size = entry.stat().st_size if with_sizes else 0
            files.append(SpoolFile(int(number), producer, table, entry.path, size))
    return sorted(files)
