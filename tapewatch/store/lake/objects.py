"""The objects of some dates of a table: where their rows are, from when on they count, and the features of chosen rows."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow.parquet as pq
from upath import UPath

from tapewatch.market.arrays import Array, flat
from tapewatch.store.durable import is_local
from tapewatch.store.lake.as_of import is_in_order
from tapewatch.store.lake.lake import OBJECT, LakeError

_TIME = pl.Datetime("ns", "UTC")
#: Rows of features that are read at a time, unless a row group has more.
_BATCH_ROWS = 500_000
#: Columns of positions: number of the key, times in ns, number of the object, number of the row in it.
CODE, EVENT, KNOWN, OBJECT_NUMBER, ROW = "code", "event", "known", "object", "row"


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


class Objects:
    """The objects of a table. Each stays open, so that one that is replaced meanwhile is read to its end.

    Args:
        source: the table.
        stack: closes the objects.
        first: date of the first object; None for the first there is.
        last: date of the last.
    """

    def __init__(self, source: Source, stack: ExitStack, first: dt.date | None, last: dt.date) -> None:
        self._source = source
        paths = sorted(source.folder.glob(f"market=*/date=*/{OBJECT}"), key=str)
        dated = [(dt.date.fromisoformat(path.parent.name.removeprefix("date=")), path) for path in paths]
        kept = [(date, path) for date, path in dated if (first is None or date >= first) and date <= last]
        self.dates = [date for date, _ in kept]
        self._objects = [_Object(path, stack) for _, path in kept]

    def codes(self) -> pl.DataFrame:
        """The keys of all objects, numbered."""
        keys = list(self._source.keys)
        empty = pl.DataFrame(schema=dict.fromkeys(keys, pl.String()))
        found = [_text(one.read(keys), keys).unique() for one in self._objects]
        return pl.concat([empty, *found]).unique().sort(keys).with_row_index(CODE)

    def positions(self, codes: pl.DataFrame | None) -> pl.DataFrame:
        """Where the rows of some keys are, with their times; None takes all rows, without telling keys apart."""
        types = {CODE: pl.UInt32(), EVENT: pl.Int64(), KNOWN: pl.Int64(), OBJECT_NUMBER: pl.UInt32(), ROW: pl.UInt32()}
        found = [pl.DataFrame(schema=types)]
        for number in range(len(self._objects)):
            rows = self._times(number).with_columns(pl.lit(number, pl.UInt32).alias(OBJECT_NUMBER)).with_row_index(ROW)
            if codes is None:
                rows = rows.with_columns(pl.lit(0, pl.UInt32).alias(CODE))
            else:
                keys = list(self._source.keys)
                rows = rows.with_columns(_text(rows, keys)).join(codes, on=keys)
            found.append(rows.select(list(types)))
        return pl.concat(found)

    def ordered(self, number: int, *, as_known: bool) -> tuple[pl.DataFrame, tuple[Array, Array, Array, Array, Array]]:
        """An object's keys, with the `run` of their rows; and the rows as `hold_at` takes them."""
        names = list(self._source.keys)
        frame = self._times(number)
        runs = frame.select(pl.struct(names).rle().alias("rows")).unnest("rows").unnest("value")
        keys = _text(runs, names).with_row_index("run").cast({"run": pl.Int64})
        bounds = np.append(0, np.cumsum(runs["len"].to_numpy(), dtype=np.int64))
        event, known = flat(frame[EVENT]), flat(frame[KNOWN])
        # The lake sorts rows by key and event, and they are known in that order unless there are corrections.
        if not keys.select(names).is_duplicated().any() and is_in_order(bounds, event, known):
            places = flat(pl.Series(np.arange(event.size)))
            return keys, (bounds, known if as_known else event, event, known, places)
        one_each = keys.select(names).unique(maintain_order=True).with_row_index(CODE)
        of_run = keys.join(one_each, on=names, how="left", nulls_equal=True, maintain_order="left")[CODE].to_numpy()
        coded = frame.with_columns(pl.Series(CODE, np.repeat(of_run, np.diff(bounds)))).with_row_index(ROW)
        rows = _as_seen(coded, as_known=as_known)
        bounds = np.searchsorted(rows[CODE].to_numpy(), np.arange(one_each.height + 1)).astype(np.int64)
        by = flat(rows[KNOWN if as_known else EVENT])
        event, known, places = (flat(rows[name].cast(pl.Int64)) for name in (EVENT, KNOWN, ROW))
        return one_each.rename({CODE: "run"}).cast({"run": pl.Int64}), (bounds, by, event, known, places)

    def gather(self, rows: pl.DataFrame, columns: Mapping[str, pl.DataType]) -> pl.DataFrame:
        """`number` and `columns` of `rows`, which have `number` and a position; in the order of the objects.

        Raises:
            UnknownColumnError: no object has one of the columns.
        """
        self._expect(self._objects, list(columns))
        number = rows.schema["number"]
        found = [pl.DataFrame(schema={"number": number, **columns})]
        for of_object in rows.select("number", OBJECT_NUMBER, ROW).sort(OBJECT_NUMBER, ROW).partition_by(OBJECT_NUMBER):
            one = self._objects[of_object[OBJECT_NUMBER][0]]
            names = [name for name in columns if name in one.names]
            for groups, offset, picked in _batches(one.metadata, of_object[ROW].to_numpy()):
                read = one.read(names, groups)
                part = of_object[picked.start : picked.stop]
                values = read[(part[ROW] - offset)].select(
                    as_type(pl.col(name), read.schema[name], dtype)
                    if name in names
                    else pl.lit(None, dtype).alias(name)
                    for name, dtype in columns.items()
                )
                found.append(values.select(part["number"], *columns))
        return pl.concat(found)

    def _times(self, number: int) -> pl.DataFrame:
        """The keys of an object's rows, and their times in ns."""
        source, one = self._source, self._objects[number]
        names = list(dict.fromkeys([*source.keys, source.event_time, source.known_time or source.event_time]))
        self._expect([one], names)
        frame = one.read(names)
        times = [
            _utc(frame[name]).alias(alias)
            for name, alias in ((source.event_time, EVENT), (source.known_time or source.event_time, KNOWN))
        ]
        return frame.select(*source.keys, *times)

    def _expect(self, objects: Sequence["_Object"], names: Sequence[str]) -> None:
        """An object may be older than a column; but if none has it, it is unknown."""
        there = {name for one in objects for name in one.names}
        missing = [name for name in names if name not in there]
        if objects and missing:
            raise UnknownColumnError(f"{self._source.folder} has no column {', '.join(missing)}")


class _Object:
    """An open object."""

    def __init__(self, path: UPath, stack: ExitStack) -> None:
        self._is_local = is_local(path)
        opened: BinaryIO = Path(path.path).open("rb") if self._is_local else path.open("rb")  # noqa: SIM115 - as below
        self._handle = stack.enter_context(opened)
        self._parquet = stack.enter_context(pq.ParquetFile(self._handle, pre_buffer=True))
        self.metadata: pq.FileMetaData = self._parquet.metadata
        self.names: list[str] = self._parquet.schema_arrow.names

    def read(self, columns: Sequence[str], groups: Sequence[int] | None = None) -> pl.DataFrame:
        """Some columns, of all row groups or of adjacent ones."""
        groups = range(self.metadata.num_row_groups) if groups is None else groups
        if not self._is_local:
            # Polars would fetch the whole object.
            return pl.DataFrame(self._parquet.read_row_groups(list(groups), columns=list(columns)))
        sizes = [self.metadata.row_group(group).num_rows for group in range(self.metadata.num_row_groups)]
        first = sum(sizes[: groups[0]]) if groups else 0
        # Polars reads from where the handle stands.
        self._handle.seek(0)
        scanned = pl.scan_parquet(self._handle).select(columns)
        return scanned.slice(first, sum(sizes[group] for group in groups)).collect()


def _as_seen(rows: pl.DataFrame, *, as_known: bool) -> pl.DataFrame:
    """Sorted rows of which, for each key, the last one up to a time is the one that holds at that time."""
    if not as_known:
        return rows.sort(CODE, EVENT, KNOWN)
    rows = rows.sort(CODE, KNOWN, EVENT)
    # A correction of an earlier event than the latest one known changes nothing that is seen afterwards.
    return rows.filter(pl.col(EVENT) >= pl.col(EVENT).cum_max().over(CODE))


def _batches(metadata: pq.FileMetaData, rows: npt.NDArray[np.uint32]) -> Iterator[tuple[list[int], int, range]]:
    """Row groups that are read together, the number of their first row, and which of `rows` (sorted) they hold."""
    sizes = [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]
    ends = np.cumsum(sizes)
    bounds = np.searchsorted(rows, ends)
    groups: list[int] = []
    begun = 0
    for index, size in enumerate(sizes):
        start = 0 if index == 0 else int(bounds[index - 1])
        is_needed = int(bounds[index]) > start
        # A batch is of adjacent groups.
        held = sum(sizes[group] for group in groups)
        if groups and (not is_needed or held + size > _BATCH_ROWS):
            yield groups, int(ends[groups[0]] - sizes[groups[0]]), range(begun, start)
            groups = []
        if is_needed:
            begun = begun if groups else start
            groups.append(index)
    if groups:
        yield groups, int(ends[groups[0]] - sizes[groups[0]]), range(begun, int(bounds[-1]))


def as_type(value: pl.Expr, found: pl.DataType, wanted: pl.DataType) -> pl.Expr:
    """A column in another type. A time that is asked for as a whole number is in µs, which a float64 holds exactly too."""
    return value.dt.timestamp("us") if isinstance(found, pl.Datetime) and wanted == pl.Int64 else value.cast(wanted)


def _text(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    return frame.select(pl.col(name).cast(pl.String) for name in names)


def _utc(times: pl.Series) -> pl.Series:
    """Times as ns since the epoch; those without a zone are in UTC."""
    if isinstance(times.dtype, pl.Datetime) and times.dtype.time_zone is None:
        times = times.dt.replace_time_zone("UTC")
    return times.cast(_TIME).to_physical()
