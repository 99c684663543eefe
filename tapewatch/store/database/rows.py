"""Converts frames to rows and back, a column at a time. Times are stored in microseconds, on SQLite as UTC text."""

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl
import sqlalchemy as sa

from tapewatch.market.instruments import Partition
from tapewatch.market.schema import Table
from tapewatch.store.database.engine import DatabaseError
from tapewatch.store.database.tables import PARTITION_COLUMNS, key_columns, twin

_MICROSECONDS = pl.Datetime("us", "UTC")
_SQLITE_TIME = "%Y-%m-%d %H:%M:%S%.6f"
#: So few that a block's Python objects stay in the processor's cache: with ten times as many a row takes four times as long.
_ROWS_AT_ONCE = 2_000
#: Null in COPY: an unquoted `\\N`; a quoted one is text.
CSV_NULL = "\\N"
#: PostgreSQL's text cannot hold a NUL character, so neither engine gets one.
_NUL, _VISIBLE_NUL = "\x00", "\u2400"


def keyed(table: Table, partition: Partition, frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` as it is stored, led by the partition's market and date, with the last row of each key.

    Raises:
        SchemaError: the frame does not fit the table.
    """
    place = pl.DataFrame({"market": [str(partition.market)], "date": [partition.date]})
    # A single alert is written often and must be quick, so Polars is not called where it is not needed.
    kept = as_kept(table, frame if frame.schema == table.schema else table.conform(frame), place)
    key = list(table.key)
    if kept.height > 1 and kept.select(key).is_duplicated().any():
        kept = kept.unique(subset=key, keep="last", maintain_order=True)
    return kept


def keys_of(table: Table, partition: Partition, keys: pl.DataFrame) -> pl.DataFrame:
    """The distinct keys as they are stored."""
    place = {"market": str(partition.market), "date": partition.date}
    kept = (
        expression for expression, column in zip(_kept(table), table.columns, strict=True) if column.name in table.key
    )
    rows = keys.select(table.key).select(*(pl.lit(value).alias(name) for name, value in place.items()), *kept)
    return rows.select(key_columns(table)).unique()


def as_kept(table: Table, frame: pl.DataFrame, place: pl.DataFrame) -> pl.DataFrame:
    """A frame of the table's schema as it will be kept: checked, led by market and date, times in microseconds.

    A NUL character in text becomes U+2400, its visible symbol.

    Args:
        place: columns market and date, one row for all or one for each.

    Raises:
        SchemaError: a value is not allowed.
    """
    table.check(frame)
    if place.height == frame.height:
        return pl.concat([place, frame.select(_kept(table))], how="horizontal")
    market, date = place.row(0)
    return frame.select(pl.lit(market).alias("market"), pl.lit(date).alias("date"), *_kept(table))


def _kept(table: Table) -> Iterator[pl.Expr]:
    for column in table.columns:
        value = pl.col(column.name)
        if isinstance(column.dtype, pl.Datetime):
            yield value.cast(_MICROSECONDS)
        elif column.dtype in (pl.String(), pl.Categorical()):
            yield value.cast(pl.String).str.replace_all(_NUL, _VISIBLE_NUL, literal=True)
        else:
            yield value


def sqlite_rows(frame: pl.DataFrame) -> Iterator[Iterator[tuple[Any, ...]]]:
    """A frame from `keyed` as blocks of rows for the driver."""
    spelt = frame.with_columns(
        pl.col(_MICROSECONDS).dt.replace_time_zone(None).cast(pl.String), pl.col(pl.Date).cast(pl.String)
    )
    for block in spelt.iter_slices(_ROWS_AT_ONCE):
        yield zip(*(column.to_list() for column in block.iter_columns()), strict=True)


def csv_block(frame: pl.DataFrame) -> bytes:
    """A frame from `keyed` as text for COPY."""
    text = frame.write_csv(
        include_header=False, quote_style="non_numeric", null_value=CSV_NULL, datetime_format=f"{_SQLITE_TIME}+00"
    )
    return text.encode()


def selectable(table: Table, dialect: str) -> list[sa.ColumnElement[Any]]:
    """The columns to select for `frame_of`: on PostgreSQL times as whole microseconds."""
    target = twin(table)
    return [_selected(target.c[name], table, dialect) for name in (*PARTITION_COLUMNS, *table.schema)]


def _selected(column: sa.Column[Any], table: Table, dialect: str) -> sa.ColumnElement[Any]:
    is_time = column.name in table.by_name and isinstance(table.by_name[column.name].dtype, pl.Datetime)
    if dialect == "sqlite":
        return sa.type_coerce(column, sa.Text()) if is_time or column.name == "date" else column
    return sa.cast(sa.extract("epoch", column) * 1_000_000, sa.BigInteger) if is_time else column


def frame_of(table: Table, rows: Sequence[sa.Row[Any]], dialect: str) -> pl.DataFrame:
    """Rows of `selectable` as a frame: `market` (text) and `date`, then the columns of the table.

    Raises:
        DatabaseError: a value is not of its column's type, which a manual write to SQLite can cause.
    """
    schema: dict[str, pl.DataType] = {"market": pl.String(), "date": pl.Date(), **table.schema}
    if not rows:
        return pl.DataFrame(schema=schema)
    columns = zip(*rows, strict=True)
    try:
        return pl.DataFrame(
            [
                _series(name, values, dtype, dialect)
                for (name, dtype), values in zip(schema.items(), columns, strict=True)
            ]
        )
    except (pl.exceptions.PolarsError, TypeError) as error:
        raise DatabaseError(f"table {table.name} holds a value that cannot be read: {error}") from error


def _series(name: str, values: tuple[Any, ...], dtype: pl.DataType, dialect: str) -> pl.Series:
    if isinstance(dtype, pl.Datetime):
        if dialect == "sqlite":
            moments = pl.Series(name, values, pl.String).str.to_datetime(_SQLITE_TIME, time_unit="us", time_zone="UTC")
        else:
            moments = pl.Series(name, values, pl.Int64).cast(_MICROSECONDS)
        return moments.cast(dtype)
    if dtype == pl.Date() and dialect == "sqlite":
        return pl.Series(name, values, pl.String).str.to_date("%Y-%m-%d")
    return pl.Series(name, values, dtype)
