"""Versions of a partition's rows: what a later computation replaced, and when, beside the table.

`{root}/{group}/versions/{table}/market={market}/date={date}/part.parquet`. Readers of a table see its newest rows alone; joins
as of a time read the versions too. A table without corrections has none.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, cast

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from tapewatch.market.schema import Table
from tapewatch.store.durable import Staging, is_local
from tapewatch.store.lake.parquet_file import Selection, symbol_counts, whole_symbol_groups

#: Columns beside the table's: when another version replaced the row (ns UTC), and whether there was a row until then.
UNTIL, IS_ROW = "until_time", "is_row"
FOLDER: Final = "versions"
_TIME: Final = pl.Datetime("ns", "UTC")
#: Rows of both computations that are compared at a time.
_ROWS_AT_ONCE: Final = 1_000_000
#: What a growing day may lack at its end: ticks that are still on their way into the lake.
_UNFINISHED: Final = dt.timedelta(minutes=2)
_OLD, _NEW, _OTHER = "is_old", "is_new", "_of_new"


def versions_path(path: UPath) -> UPath:
    """Where the versions of a partition's object are."""
    table = path.parent.parent.parent
    return table.parent.joinpath(FOLDER, table.name, *path.parts[-3:])


def keep_superseded(table: Table, path: UPath, staged: Path) -> None:
    """Before a partition's object at `path` is replaced by `staged`: keep its rows that differ, as versions until now.

    A row that comes to a stretch of a symbol that was computed before is late: the versions say that there was none until now. Rows
    of other symbols and of a stretch that is new are no corrections; nor are those of the last minutes of a day that has grown since,
    of which ticks were missing. Equal rows add nothing. An object with other columns is of another definition: its versions go.

    Killed before the replacement, the versions say that rows were replaced by equal ones, which changes no join.
    """
    if not path.exists():
        return
    target = versions_path(path)
    with _opened(path) as old, pq.ParquetFile(staged, memory_map=True) as new:
        if old.schema_arrow.names != new.schema_arrow.names:
            forget(path)
            return
        now = dt.datetime.now(dt.UTC)
        found = list(_superseded(table, old, new, now))
    added = pl.concat(found) if found else None
    if added is None or added.is_empty():
        return
    if target.exists():
        added = pl.concat([pl.read_parquet(target.read_bytes()).cast(added.schema), added])
    with Staging(target) as staging:
        added.sort(*table.key, UNTIL).write_parquet(staging.path, compression="zstd", compression_level=1)
        staging.swap_in()


def forget(path: UPath) -> bool:
    """Delete the versions of a partition's object; from then on its rows count from their own time. False where it has none."""
    target = versions_path(path)
    if not target.exists():
        return False
    target.unlink()
    return True


def _superseded(table: Table, old: pq.ParquetFile, new: pq.ParquetFile, now: dt.datetime) -> Iterator[pl.DataFrame]:
    """The versions that the new object makes of rows of the old one, symbols by symbols."""
    counts = [symbol_counts(file.metadata) for file in (old, new)]
    last, newest = (_last_event(file) for file in (old, new))
    # Until here the earlier computation had the whole tape.
    whole_until = last if last is None or newest is None or newest <= last else last - _UNFINISHED
    if whole_until is None:
        return
    for symbols in whole_symbol_groups(counts, _ROWS_AT_ONCE):
        known = [symbol for symbol in symbols if symbol in counts[0]]
        if known:
            yield _differing(table, _rows(table, old, known), _rows(table, new, known), whole_until, now)


def _differing(
    table: Table, old: pl.DataFrame, new: pl.DataFrame, whole_until: dt.datetime, now: dt.datetime
) -> pl.DataFrame:
    key = list(table.key)
    values = [column.name for column in table.columns if column.name not in key]
    both = old.with_columns(pl.lit(value=True).alias(_OLD)).join(
        new.with_columns(pl.lit(value=True).alias(_NEW)), on=key, how="full", coalesce=True, suffix=_OTHER
    )
    is_other = pl.any_horizontal(*(_differs(table, name) for name in values))
    was, is_now = (pl.col(name).fill_null(value=False) for name in (_OLD, _NEW))
    changed = both.filter(pl.col("event_time") <= whole_until, ~was | ~is_now | is_other)
    late = [pl.when(was).then(pl.col(name)).alias(name) for name in values if name != "known_time"]
    return changed.select(
        *key,
        pl.coalesce("known_time", f"known_time{_OTHER}"),
        *late,
        pl.lit(now).cast(_TIME).alias(UNTIL),
        was.alias(IS_ROW),
    ).select(*table.schema, UNTIL, IS_ROW)


def _differs(table: Table, name: str) -> pl.Expr:
    """Whether the bits of a column differ. No float of the lake is NaN."""
    one, other = pl.col(name), pl.col(f"{name}{_OTHER}")
    differs = one.ne_missing(other)
    if table.by_name[name].dtype.is_float():
        differs |= ((one == 0) & (other == 0) & (1 / one != 1 / other)).fill_null(value=False)
    return differs


def _rows(table: Table, file: pq.ParquetFile, symbols: Sequence[str]) -> pl.DataFrame:
    selection = Selection.of(file.metadata, symbols)
    frame = selection.cut(pl.DataFrame(file.read_row_groups(selection.groups)))
    return frame.select(pl.col(name).cast(_words(dtype)) for name, dtype in table.schema.items())


def _words(dtype: pl.DataType) -> pl.DataType:
    """Words as text: categories of the two objects need no common numbers."""
    return pl.String() if dtype == pl.Categorical() else dtype


def _last_event(file: pq.ParquetFile) -> dt.datetime | None:
    """The latest event; None in an object without rows."""
    found = pl.DataFrame(file.read(["event_time"]))["event_time"].cast(_TIME).max()
    return cast("dt.datetime | None", found)


def _opened(path: UPath) -> Any:
    if is_local(path):
        return pq.ParquetFile(path.path, memory_map=True)
    return pq.ParquetFile(pa.BufferReader(path.fs.cat_file(path.path)))
