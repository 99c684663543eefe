"""Copies all rows of a table in batches, for backup, restore and move."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import zip_longest

import polars as pl
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from tapewatch.market.schema import Table
from tapewatch.store.database.engine import DatabaseError, transaction
from tapewatch.store.database.rows import as_kept, frame_of, selectable
from tapewatch.store.database.tables import PARTITION_COLUMNS, SQL_TABLES, key_columns, time_column, twin
from tapewatch.store.database.upkeep.timescale import lift_decompression_limit
from tapewatch.store.database.upserts import insert

ROWS_A_BATCH = 20_000
#: Called with the table's name, rows done, rows in all.
Listener = Callable[[str, int, int], None]


def no_listener(table: str, done: int, rows: int) -> None:
    """A listener that does nothing."""


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """A transaction that sees one state of the whole database, even if others write meanwhile.

    Raises:
        DatabaseError: it cannot be read.
    """
    # Every SQLite transaction is a snapshot.
    level = {"isolation_level": "REPEATABLE READ"} if engine.dialect.name == "postgresql" else {}
    with transaction(engine.execution_options(**level), reads_only=True) as connection:
        yield connection


def count(connection: Connection, table: Table) -> int:
    """Rows of a table."""
    return int(connection.scalar(sa.select(sa.func.count()).select_from(twin(table))) or 0)


def batches(connection: Connection, table: Table, *, by_key: bool = False) -> Iterator[pl.DataFrame]:
    """All rows of a table in batches, as `Database.read` returns them: by time, or by key in the same order on both engines."""
    columns = twin(table).c
    dialect = connection.dialect.name
    names = key_columns(table) if by_key else (time_column(table) or "date",)
    query = sa.select(*selectable(table, dialect)).order_by(
        # Text is compared byte by byte, as SQLite does; PostgreSQL would use a locale.
        *(
            sa.collate(columns[name], "C")
            if isinstance(columns[name].type, sa.Text) and dialect != "sqlite"
            else columns[name]
            for name in names
        )
    )
    result = connection.execute(query, execution_options={"yield_per": ROWS_A_BATCH})
    for rows in result.partitions():
        yield frame_of(table, rows, dialect)


def write(connection: Connection, table: Table, frame: pl.DataFrame) -> None:
    """Add rows as `batches` returns them to a table that has none of their keys.

    Raises:
        SchemaError: the rows do not fit the table.
    """
    insert(connection, table, as_kept(table, table.conform(frame), frame.select(PARTITION_COLUMNS)))


def refuse_unless_empty(connection: Connection, way_out: str) -> None:
    """Raise a DatabaseError that names the tables with rows."""
    held = {table.name: rows for table in SQL_TABLES if (rows := count(connection, table))}
    if held:
        address = connection.engine.url.render_as_string(hide_password=True)
        tables = ", ".join(f"{name} ({rows:,} rows)" for name, rows in held.items())
        raise DatabaseError(f"database {address} is not empty: {tables}. {way_out}")


def clear(connection: Connection) -> None:
    """Delete every row of every table."""
    lift_decompression_limit(connection)
    for table in SQL_TABLES:
        connection.execute(sa.delete(twin(table)))


def compare(source: Connection, target: Connection, table: Table, listener: Listener = no_listener) -> int:
    """Compare a table's rows in two databases, by key. Returns the number of rows.

    Raises:
        DatabaseError: a row differs; the message names its key.
    """
    rows, done = count(source, table), 0
    for left, right in zip_longest(batches(source, table, by_key=True), batches(target, table, by_key=True)):
        if left is None or right is None or not left.equals(right):
            raise DatabaseError(f"{table.name}: {_first_difference(table, left, right)}")
        done += left.height
        listener(table.name, done, rows)
    return done


def _first_difference(table: Table, left: pl.DataFrame | None, right: pl.DataFrame | None) -> str:
    none = pl.DataFrame()
    left, right = none if left is None else left, none if right is None else right
    for row in range(min(left.height, right.height)):
        if not left[row].equals(right[row]):
            return (
                f"the row {_key(table, left, row)} is {left.row(row)} in the source and {right.row(row)} in the target"
            )
    longer, what = (left, "lacks") if left.height > right.height else (right, "has one too many:")
    return f"the target {what} {_key(table, longer, min(left.height, right.height))}"


def _key(table: Table, frame: pl.DataFrame, row: int) -> str:
    return ", ".join(f"{name}={frame[name][row]}" for name in key_columns(table))
