"""The objects of some dates of a table: where their rows are, from when on they count, and the features of chosen rows."""

import datetime as dt
import glob
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
import polars as pl
import pyarrow as pa
from upath import UPath

from tapewatch.market.arrays import flat
from tapewatch.store.durable import is_local
from tapewatch.store.lake.joins.day_rows import Columns, Day, DayRows
from tapewatch.store.lake.lake import OBJECT, LakeError

#: Objects that are read side by side; further threads would wait for the disk.
_READERS: Final = 4
#: Columns of positions: number of the key, times in ns, number of the object, number of the row in it.
CODE, EVENT, KNOWN, OBJECT_NUMBER, ROW = "code", "event", "known", "object", "row"
_UNTIL: Final = "until"
_T = TypeVar("_T")
_R = TypeVar("_R")


class UnknownColumnError(LakeError):
    """No object of a table has a column that is asked for; the message names both."""


@dataclass(frozen=True, slots=True)
class Source:
    """A partitioned table: its folder, the columns of its key and of its two times, and for how long a row holds.

    Without `known_time` a row counts from its `event_time` on; without `ttl` it holds for ever.
    """

    folder: UPath
    keys: tuple[str, ...]
    event_time: str = "event_time"
    known_time: str | None = "known_time"
    ttl: dt.timedelta | None = None

    @property
    def columns(self) -> Columns:
        """The columns that say which rows hold."""
        return Columns(self.keys, self.event_time, self.known_time)


#: Dates of objects, and their paths below the table's folder, in the order of the paths.
DatedPaths = Sequence[tuple[dt.date, str]]


def dated_paths(source: Source) -> DatedPaths:
    """The objects that a table has now."""
    pattern = f"market=*/date=*/{OBJECT}"
    if is_local(source.folder):
        # As text: a path object for each would cost ten times as much.
        found = glob.glob(pattern, root_dir=source.folder.path)  # noqa: PTH207
    else:
        found = [str(path.relative_to(source.folder)) for path in source.folder.glob(pattern)]
    return [(dt.date.fromisoformat(path.split("/")[1].removeprefix("date=")), path) for path in sorted(found)]


class Objects:
    """The objects of a table. Each stays open, so that one that is replaced meanwhile is read to its end.

    Args:
        source: the table.
        stack: closes the objects.
        paths: the table's objects with their dates, see `dated_paths`.
        first: date of the first object to open; None for the first there is.
        last: date of the last.
    """

    def __init__(
        self, source: Source, stack: ExitStack, paths: "DatedPaths", first: dt.date | None, last: dt.date
    ) -> None:
        self._source = source
        kept = [(date, path) for date, path in paths if (first is None or date >= first) and date <= last]
        self.dates = [date for date, _ in kept]
        self._days = [Day(UPath(source.folder, path), stack) for _, path in kept]
        # It ends before the files that its threads read are closed.
        self._readers = stack.enter_context(ThreadPoolExecutor(_READERS, "lake"))

    def positions(self, until_ns: int, *, by_key: bool) -> pl.DataFrame:
        """Where the rows are, with their times, without those that were replaced by `until_ns`; codes ascend with the keys.

        Without `by_key` keys are not told apart.
        """
        found = []
        for number, rows in enumerate(self._ahead(self._rows, range(len(self._days)))):
            texts = pl.Series(rows.keys, dtype=pl.String) if by_key else pl.Series([""] * len(rows.keys))
            of_row = np.repeat(np.arange(len(rows.keys)), np.diff(rows.bounds))
            places = {
                CODE: texts.gather(of_row),
                EVENT: rows.event,
                KNOWN: rows.known,
                _UNTIL: rows.until,
                ROW: rows.numbers,
            }
            found.append(
                pl.DataFrame(places).filter(pl.col(_UNTIL) > until_ns).with_columns(pl.lit(number).alias(OBJECT_NUMBER))
            )
        types = {CODE: pl.String(), EVENT: pl.Int64(), KNOWN: pl.Int64(), ROW: pl.UInt32(), OBJECT_NUMBER: pl.UInt32()}
        empty = pl.DataFrame(schema=types)
        return pl.concat([empty, *(rows.select(list(types)).cast(types) for rows in found)])  # type: ignore[arg-type]

    def ordered(self, numbers: Sequence[int], keys: "pa.Array[Any]", *, as_known: bool) -> Iterator[DayRows]:
        """The rows of each object, at least those of the keys."""
        return self._ahead(lambda number: self._rows(number, keys, as_known=as_known), numbers)

    def gather(self, rows: pl.DataFrame, columns: Mapping[str, pl.DataType]) -> pl.DataFrame:
        """`number` and `columns` of `rows`, which have `number`, a position and when it was known; in the order of the objects.

        Raises:
            UnknownColumnError: no object has one of the columns.
        """
        self._expect(self._days, list(columns))
        parts = rows.select("number", KNOWN, OBJECT_NUMBER, ROW).sort(OBJECT_NUMBER, ROW).partition_by(OBJECT_NUMBER)

        def taken(part: pl.DataFrame) -> list[pa.Table]:
            day = self._days[part[OBJECT_NUMBER][0]]
            return list(day.take(flat(part[ROW].cast(pl.Int64)), [name for name in columns if name in day.names]))

        found = [pl.DataFrame(schema=columns)]
        tables: list[pa.Table] = []
        for table in (table for many in self._ahead(taken, parts) for table in many):
            if tables and table.schema != tables[-1].schema:
                found.append(_as_wanted(tables, columns))
                tables = []
            tables.append(table)
        if tables:
            found.append(_as_wanted(tables, columns))
        placed = pl.concat([rows.select("number", KNOWN).clear(), *(part.select("number", KNOWN) for part in parts)])
        values = pl.concat(found)
        name = self._source.known_time
        if name is not None and name in columns:
            # A version was known when it replaced another, whatever it says itself.
            known = placed.select(as_type(pl.col(KNOWN).cast(_TIME), _TIME, columns[name]).alias(name))
            values = values.with_columns(known[name])
        return placed.select("number").hstack(values.select(list(columns)))

    def _rows(self, number: int, keys: "pa.Array[Any] | None" = None, *, as_known: bool = True) -> DayRows:
        day = self._days[number]
        self._expect([day], self._source.columns.names)
        return day.rows(self._source.columns, keys, as_known=as_known)

    def _ahead(self, work: Callable[[_T], _R], items: Iterable[_T]) -> Iterator[_R]:
        """The results in order, with a few computed ahead: not all of them are in memory."""
        waiting: deque[Future[_R]] = deque()
        for item in items:
            waiting.append(self._readers.submit(work, item))
            if len(waiting) > _READERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _expect(self, days: Sequence[Day], names: Sequence[str]) -> None:
        """An object may be older than a column; but if none has it, it is unknown."""
        there = {name for day in days for name in day.names}
        missing = [name for name in names if name not in there]
        if days and missing:
            raise UnknownColumnError(f"{self._source.folder} has no column {', '.join(missing)}")


_TIME: Final = pl.Datetime("ns", "UTC")


def as_type(value: pl.Expr, found: pl.DataType, wanted: pl.DataType) -> pl.Expr:
    """A column in another type. A time that is asked for as a whole number is in µs, which a float64 holds exactly too."""
    return value.dt.timestamp("us") if isinstance(found, pl.Datetime) and wanted == pl.Int64 else value.cast(wanted)


def _as_wanted(tables: Sequence[pa.Table], columns: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Tables of one schema, with the columns in their types; absent ones are null."""
    frame = pl.DataFrame(pa.concat_tables(tables))
    return frame.select(
        as_type(pl.col(name), frame.schema[name], dtype) if name in frame.columns else pl.lit(None, dtype).alias(name)
        for name, dtype in columns.items()
    )
