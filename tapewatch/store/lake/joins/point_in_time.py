"""Rows of the lake as they were known at a time: as-of joins over a table's partitions, and each key's latest row.

A row counts from its `known_time` on, never from the time that it describes. Of the rows known at a time the one of the latest
`event_time` holds; of several versions of it, the one known last. So a correction is seen from when it arrived.
"""

import datetime as dt
from collections.abc import Mapping
from contextlib import ExitStack

import numpy as np
import polars as pl

from tapewatch.market.arrays import flat
from tapewatch.store.lake.joins.as_of import hold_at
from tapewatch.store.lake.joins.day_rows import key_texts
from tapewatch.store.lake.joins.objects import (
    CODE,
    EVENT,
    KNOWN,
    OBJECT_NUMBER,
    ROW,
    DatedPaths,
    Objects,
    Source,
    dated_paths,
)

_TIME = pl.Datetime("ns", "UTC")
#: The days of a partition's rows may be those before and after its date: futures trade from the evening before.
_MARGIN = dt.timedelta(days=2)
#: Rows of as many days are joined together: the keys of their partitions are in memory at a time.
_CHUNK_DAYS = 32
#: In a row of `held` that no object has filled.
_NOTHING = np.iinfo(np.int64).min


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
    paths, parts = dated_paths(source), chunks.partition_by("chunk", include_key=False)
    found = [_join(source, paths, part, columns, as_known) for part in parts]
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
    return _read(source, columns, after, until, only_latest=True)


def between(source: Source, columns: Mapping[str, pl.DataType], after: dt.datetime, until: dt.datetime) -> pl.DataFrame:
    """Every row that became known in [`after`, `until`], as it was then; otherwise as `latest`."""
    return _read(source, columns, after, until, only_latest=False)


def _read(
    source: Source, columns: Mapping[str, pl.DataType], after: dt.datetime, until: dt.datetime, *, only_latest: bool
) -> pl.DataFrame:
    times = dict.fromkeys([source.event_time, *([source.known_time] if source.known_time else [])], _TIME)
    keys = dict.fromkeys(source.keys, pl.String())
    with ExitStack() as stack:
        objects = Objects(source, stack, dated_paths(source), *_reach(source, after, until))
        rows = objects.positions(_ns(until), by_key=only_latest)
        rows = rows.filter(pl.col(KNOWN).is_between(_ns(after), _ns(until))).sort(CODE, EVENT, KNOWN)
        if only_latest:
            rows = rows.unique(CODE, keep="last", maintain_order=True)
        found = objects.gather(rows.with_row_index("number"), {**keys, **times, **columns})
    return found.sort("number").drop("number")


def _join(
    source: Source, paths: DatedPaths, part: pl.DataFrame, columns: Mapping[str, pl.DataType], as_known: bool
) -> pl.DataFrame:
    """`number` and the columns of those rows of `part` for which something was known."""
    wanted = part.sort("time")
    keys = key_texts([wanted[key].to_arrow() for key in source.keys], wanted.height).dictionary_encode()
    codes, texts = keys.indices.to_numpy(), keys.dictionary
    times, ttl_ns = flat(wanted["time"]), -1 if source.ttl is None else _ns_of(source.ttl)
    held = np.full((wanted.height, 4), _NOTHING)
    with ExitStack() as stack:
        objects = Objects(source, stack, paths, *_reach(source, wanted["time"][0], wanted["time"][-1]))
        asked = [np.searchsorted(times, _held_between(source, date)) for date in objects.dates]
        numbers = [number for number, (begin, end) in enumerate(asked) if begin < end]
        for number, rows in zip(numbers, objects.ordered(numbers, texts, as_known=as_known), strict=True):
            begin, end = asked[number]
            arrays = rows.bounds, rows.event, rows.known, rows.until, rows.numbers
            hold_at(rows.runs_of(texts)[codes[begin:end]], times[begin:end], arrays, held[begin:end], number, ttl_ns)
        places = pl.DataFrame(held[:, 1:], schema=[KNOWN, OBJECT_NUMBER, ROW])
        found = wanted.select("number").hstack(places).filter(pl.col(OBJECT_NUMBER) != _NOTHING)
        return objects.gather(found, columns)


def _held_between(source: Source, date: dt.date) -> list[int]:
    """From when, and before when (ns), rows of a date's partition may hold."""
    midnight = dt.datetime.combine(date, dt.time(), dt.UTC)
    first = _ns(midnight - _MARGIN)
    if source.ttl is None:
        return [first, np.iinfo(np.int64).max]
    return [first, _ns(midnight + _MARGIN) + _ns_of(source.ttl)]


def _reach(source: Source, first: dt.datetime, last: dt.datetime) -> tuple[dt.date | None, dt.date]:
    """The dates of the partitions whose rows may hold at a time from `first` to `last`."""
    earliest = None if source.ttl is None else (first - source.ttl - _MARGIN).date()
    return earliest, (last + _MARGIN).date()


def _ns(time: dt.datetime) -> int:
    return _ns_of(time - dt.datetime(1970, 1, 1, tzinfo=dt.UTC))


def _ns_of(length: dt.timedelta) -> int:
    return length // dt.timedelta(microseconds=1) * 1000
