"""Names, days and numbers of the files that wait in the spool.

Layout: `{root}/{market}/{date}/{producer}-{number:012d}-{table}.arrow`, by the market date of the event. A healer's file
adds `@{symbol}@{start}@{end}`, the time range that it holds whole.
"""

import datetime as dt
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote

import polars as pl

from tapewatch.market.instruments import Market, Partition, day_of, known_session, session_at
from tapewatch.market.schema import Table
from tapewatch.market.tables.stream import STREAMED

#: The tables that may be spooled, by name.
SPOOLED: dict[str, Table] = {table.name: table for table in STREAMED}
_SUFFIX = ".arrow"
_NS_PER_HOUR = 3600 * 10**9


@dataclass(frozen=True, slots=True)
class HealedInterval:
    """A stretch of the tape of which a batch holds all rows; int64 ns UTC, half-open."""

    symbol: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, order=True)
class SpoolFile:
    """One waiting file. `heals` is the stretch of a healer's file."""

    number: int
    producer: str
    table: str
    path: str = field(compare=False)
    heals: HealedInterval | None = field(default=None, compare=False)
    bytes: int = field(default=0, compare=False)

    @classmethod
    def at(
        cls, folder: Path, producer: str, number: int, table: str, heals: HealedInterval | None = None
    ) -> "SpoolFile":
        """The file to write in the folder of a day."""
        interval = f"@{quote(heals.symbol, safe='')}@{heals.start}@{heals.end}" if heals else ""
        name = f"{producer}-{number:012d}-{table}{interval}{_SUFFIX}"
        return cls(number, producer, table, str(folder / name), heals)

    @classmethod
    def parse(cls, name: str, path: str, size: int = 0) -> "SpoolFile":
        """A file from its name."""
        producer, number, rest = name.removesuffix(_SUFFIX).split("-", 2)
        table, *interval = rest.split("@")
        heals = HealedInterval(unquote(interval[0]), int(interval[1]), int(interval[2])) if interval else None
        return cls(int(number), producer, table, path, heals, size)

    @property
    def name(self) -> str:
        """Name of the batch in the ledger (`stream_batches`)."""
        return f"{self.producer}-{self.number:012d}-{self.table}"


def market_days(frame: pl.DataFrame, market: Market) -> Iterator[tuple[dt.date | None, pl.DataFrame]]:
    """The rows of each market day, by `time`; under None the rows of days without a session."""
    if frame.is_empty():
        return
    times = frame["time"].to_physical()
    session = session_at(market, int(times.min()))  # type: ignore[arg-type]
    if session is not None and times.max() < session.day_end:  # type: ignore[operator]
        yield session.date, frame
    else:
        yield from _split(frame, times, market)


def _split(frame: pl.DataFrame, times: pl.Series, market: Market) -> Iterator[tuple[dt.date | None, pl.DataFrame]]:
    # A market's day begins at a whole hour.
    hours = (times // _NS_PER_HOUR).unique() * _NS_PER_HOUR
    is_open = pl.repeat(value=False, n=frame.height, eager=True)
    for day in sorted({day_of(market, int(hour)) for hour in hours}):
        session = known_session(market, day)
        inside = times.is_between(session.day_start, session.day_end, closed="left") if session else None
        if inside is not None and inside.any():
            is_open |= inside
            yield day, frame.filter(inside)
    if not is_open.all():
        yield None, frame.filter(~is_open)


def waiting(root: Path) -> dict[Partition, list[SpoolFile]]:
    """The files in a spool by partition, in order of their numbers; only names are read."""
    found: dict[Partition, list[SpoolFile]] = {}
    for market in Market:
        for day, files in market_files(Path(root) / market.value).items():
            found[Partition(day, market)] = files
    return found


def waiting_for(root: Path, partition: Partition, through: Mapping[str, int] | None = None) -> list[SpoolFile]:
    """One partition's files in order of their numbers, with sizes; `through` is the highest number by producer."""
    folder = Path(root) / partition.market.value / partition.date.isoformat()
    files = _files(folder, with_sizes=True)
    return [file for file in files if through is None or file.number <= through.get(file.producer, -1)]


def highest_numbers(files: list[SpoolFile]) -> dict[str, int]:
    """The highest number of some files by producer: a run merges the files up to it."""
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
            if name.startswith(".") or not name.endswith(_SUFFIX):
                continue
            # A file may be merged and deleted meanwhile.
            with suppress(FileNotFoundError):
                files.append(SpoolFile.parse(name, entry.path, entry.stat().st_size if with_sizes else 0))
    # By key, since dataclasses compare slowly.
    return sorted(files, key=lambda file: (file.number, file.producer, file.table))
