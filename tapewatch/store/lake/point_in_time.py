"""Rows of the lake as they were known at a time: as-of joins over a table's partitions, and each key's latest row.

A row counts from its `known_time` on, never from the time that it describes. Of the rows known at a time the one of the latest
`event_time` holds; of several versions of it, the one known last. So a correction is seen from when it arrived.
"""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow.parquet as pq
from upath import UPath

from tapewatch.store.lake.lake import OBJECT, LakeError, open_object

_TIME = pl.Datetime("ns", "UTC")
#: The days of a partition's rows may be those before and after its date: futures trade from the evening before.
_MARGIN = dt.timedelta(days=2)
#: Rows of as many days are joined together: the keys of their partitions are in memory at a time.
_CHUNK_DAYS = 16
#: Rows of features that are read at a time, unless a row group has more.
_BATCH_ROWS = 500_000
#: The columns of `_positions`: number of the key, times in ns, number of the object, number of the row in it.
_CODE, _EVENT, _KNOWN, _OBJECT, _ROW = "code", "event", "known", "object", "row"


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


def join_as_of(
    source: Source, rows: pl.DataFrame, columns: Mapping[str, pl.DataType], *, as_known: bool = True
) -> pl.DataFrame:
    """What was known of each row's key at the row's time; null where nothing was, or the last row held no more.

    Args:
        source: the table.
        rows: the key's columns and `time` (UTC), without nulls; in any order, repeated as they may be.
        columns: what to return, with types; a time as Int64 is in µs since the epoch.
        as_known: False joins by the event's time, and so sees rows and corrections before they were known.

    Returns:
        A frame of `columns`, one row for each of `rows`, in their order.

    Raises:
        UnknownColumnError: the table lacks a column.
    """
    numbered = rows.select(*source.keys, pl.col("time").cast(_TIME)).with_row_index("number")
    chunks = numbered.with_columns(chunk=pl.col("time").dt.epoch("d") // _CHUNK_DAYS)
    found = [_join(source, part, columns, as_known) for part in chunks.partition_by("chunk", include_key=False)]
    empty = pl.DataFrame(schema={"number": numbered.schema["number"], **columns})
    joined = pl.concat([empty, *found])
    return numbered.select("number").join(joined, on="number", how="left", maintain_order="left").drop("number")


def latest(source: Source, columns: Mapping[str, pl.DataType], after: dt.datetime, until: dt.datetime) -> pl.DataFrame:
    """Each key's latest row among those that became known in [`after`, `until`].

    Args:
        source: the table.
        columns: what to return beside the key and the times, with types.
        after: first moment, with a zone.
        until: last moment.

    Returns:
        The key's columns (text), the times (ns UTC) and `columns`; sorted by key.

    Raises:
        UnknownColumnError: the table lacks a column.
    """
    known = pl.col(_KNOWN).is_between(_ns(after), _ns(until))
    return _read(source, columns, after, until, known, only_latest=True)


def between(source: Source, columns: Mapping[str, pl.DataType], after: dt.datetime, until: dt.datetime) -> pl.DataFrame:
    """Every row that became known in [`after`, `until`]; otherwise as `latest`."""
    known = pl.col(_KNOWN).is_between(_ns(after), _ns(until))
    return _read(source, columns, after, until, known, only_latest=False)


def _read(
    source: Source,
    columns: Mapping[str, pl.DataType],
    after: dt.datetime,
    until: dt.datetime,
    is_wanted: pl.Expr,
    *,
    only_latest: bool,
) -> pl.DataFrame:
    times = dict.fromkeys([source.event_time, *([source.known_time] if source.known_time else [])], _TIME)
    keys = dict.fromkeys(source.keys, pl.String())
    with ExitStack() as stack:
        objects = _Objects(source, stack, *_reach(source, after, until))
        codes = objects.codes() if only_latest else None
        rows = objects.positions(codes).filter(is_wanted).sort(_CODE, _EVENT, _KNOWN)
        if only_latest:
            rows = rows.unique(_CODE, keep="last", maintain_order=True)
        numbered = rows.with_row_index("number")
        found = objects.gather(numbered, {**keys, **times, **columns})
    return found.sort("number").drop("number")


def _join(source: Source, part: pl.DataFrame, columns: Mapping[str, pl.DataType], as_known: bool) -> pl.DataFrame:
    """`number` and the columns of those rows of `part` for which something was known."""
    first, last = part.select(first=pl.col("time").min(), last=pl.col("time").max()).row(0)
    codes = part.select(source.keys).unique(maintain_order=True).with_row_index(_CODE)
    wanted = part.join(codes, on=source.keys).select("number", _CODE, pl.col("time").to_physical()).sort("time")
    with ExitStack() as stack:
        objects = _Objects(source, stack, *_reach(source, first, last))
        right = _as_seen(objects.positions(codes), as_known=as_known)
        at = _KNOWN if as_known else _EVENT
        matched = wanted.join_asof(
            right, left_on="time", right_on=at, by=_CODE, strategy="backward", coalesce=False, check_sortedness=False
        ).filter(pl.col(_ROW).is_not_null())
        if source.ttl is not None:
            matched = matched.filter(
                pl.col("time") - pl.col(_EVENT) <= source.ttl // dt.timedelta(microseconds=1) * 1000
            )
        return objects.gather(matched, columns)


def _as_seen(positions: pl.DataFrame, *, as_known: bool) -> pl.DataFrame:
    """Sorted rows of which, for each key, the last one up to a time is the one that holds at that time."""
    if not as_known:
        return positions.sort(_CODE, _EVENT, _KNOWN).unique([_CODE, _EVENT], keep="last", maintain_order=True)
    rows = positions.sort(_CODE, _KNOWN, _EVENT)
    # A correction of an earlier event than the latest one known changes nothing that is seen afterwards.
    rows = rows.filter(pl.col(_EVENT) >= pl.col(_EVENT).cum_max().over(_CODE))
    is_last = (pl.col(_CODE) != pl.col(_CODE).shift(-1)) | (pl.col(_KNOWN) != pl.col(_KNOWN).shift(-1))
    return rows.filter(is_last.fill_null(value=True))


def _reach(source: Source, first: dt.datetime, last: dt.datetime) -> tuple[dt.date | None, dt.date]:
    """The dates of the partitions whose rows may hold at a time from `first` to `last`."""
    earliest = None if source.ttl is None else (first - source.ttl - _MARGIN).date()
    return earliest, (last + _MARGIN).date()


class _Objects:
    """The objects of some dates of a table. Each stays open, so that one that is replaced meanwhile is read to its end."""

    def __init__(self, source: Source, stack: ExitStack, first: dt.date | None, last: dt.date) -> None:
        self._source = source
        paths = sorted(source.folder.glob(f"market=*/date=*/{OBJECT}"), key=str)
        dated = [(dt.date.fromisoformat(path.parent.name.removeprefix("date=")), path) for path in paths]
        self._files = [
            stack.enter_context(pq.ParquetFile(stack.enter_context(open_object(path)), pre_buffer=True))
            for date, path in dated
            if (first is None or date >= first) and date <= last
        ]

    def codes(self) -> pl.DataFrame:
        """The keys of all objects, numbered."""
        keys = list(self._source.keys)
        empty = pl.DataFrame(schema=dict.fromkeys(keys, pl.String()))
        found = [self._keys(pl.DataFrame(file.read(columns=keys))).unique() for file in self._files]
        return pl.concat([empty, *found]).unique().sort(keys).with_row_index(_CODE)

    def positions(self, codes: pl.DataFrame | None) -> pl.DataFrame:
        """Where the rows of some keys are, with their times; None takes all rows, without telling keys apart."""
        source = self._source
        known = source.known_time or source.event_time
        types = {_CODE: pl.UInt32(), _EVENT: pl.Int64(), _KNOWN: pl.Int64(), _OBJECT: pl.UInt32(), _ROW: pl.UInt32()}
        found = [pl.DataFrame(schema=types)]
        for number, file in enumerate(self._files):
            names = [*source.keys, source.event_time, known]
            self._expect([file], names)
            frame = pl.DataFrame(file.read(columns=list(dict.fromkeys(names))))
            times = [_utc(frame[name]).alias(alias) for name, alias in ((source.event_time, _EVENT), (known, _KNOWN))]
            rows = frame.select(*times, pl.lit(number, pl.UInt32).alias(_OBJECT)).with_row_index(_ROW)
            if codes is None:
                rows = rows.with_columns(pl.lit(0, pl.UInt32).alias(_CODE))
            else:
                rows = rows.hstack(self._keys(frame)).join(codes, on=source.keys)
            found.append(rows.select(list(types)))
        return pl.concat(found)

    def gather(self, rows: pl.DataFrame, columns: Mapping[str, pl.DataType]) -> pl.DataFrame:
        """`number` and `columns` of `rows`, which have `number` and a position; in the order of the objects."""
        self._expect(self._files, list(columns))
        number = rows.schema["number"]
        found = [pl.DataFrame(schema={"number": number, **columns})]
        for of_object in rows.select("number", _OBJECT, _ROW).sort(_OBJECT, _ROW).partition_by(_OBJECT):
            file = self._files[of_object[_OBJECT][0]]
            names = [name for name in columns if name in file.schema_arrow.names]
            for groups, offset, picked in _batches(file.metadata, of_object[_ROW].to_numpy()):
                read = pl.DataFrame(file.read_row_groups(groups, columns=names))
                part = of_object[picked.start : picked.stop]
                values = read[(part[_ROW] - offset)].select(
                    as_type(pl.col(name), read.schema[name], dtype)
                    if name in names
                    else pl.lit(None, dtype).alias(name)
                    for name, dtype in columns.items()
                )
                found.append(values.select(part["number"], *columns))
        return pl.concat(found)

    def _keys(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame.select(pl.col(name).cast(pl.String) for name in self._source.keys)

    def _expect(self, files: Sequence[pq.ParquetFile], names: Sequence[str]) -> None:
        """An object may be older than a column; but if none has it, it is unknown."""
        there = {name for file in files for name in file.schema_arrow.names}
        missing = [name for name in names if name not in there]
        if files and missing:
            raise UnknownColumnError(f"{self._source.folder} has no column {', '.join(missing)}")


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


def _utc(times: pl.Series) -> pl.Series:
    """Times as ns since the epoch; those without a zone are in UTC."""
    if isinstance(times.dtype, pl.Datetime) and times.dtype.time_zone is None:
        times = times.dt.replace_time_zone("UTC")
    return times.cast(_TIME).to_physical()


def _ns(time: dt.datetime) -> int:
    return (time - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1) * 1000
