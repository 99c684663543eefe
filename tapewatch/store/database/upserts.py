"""Bulk upserts and deletes.

SQLite: up to 250 rows a statement. PostgreSQL: few rows in one statement, which needs fewer round trips; more by COPY into a
temporary table of the connection and one merge; rows that are known to be new by COPY into their table.
"""

import io
from itertools import chain
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.engine.interfaces import DBAPICursor

from tapewatch.market.schema import Table
from tapewatch.store.database.rows import CSV_NULL, csv_block, sqlite_rows
from tapewatch.store.database.tables import TIME_SERIES, key_columns, twin
from tapewatch.store.database.upkeep.timescale import lift_decompression_limit

#: Up to this many rows one statement is quicker than COPY and merge.
_FEW_ROWS = 30
#: The driver releases the interpreter for each statement and waits to get it back: among busy threads a statement per row is
#: many times slower, and the database is locked meanwhile. The rows that one size leaves over go to the next.
_ROWS_A_STATEMENT = (250, 25, 1)
#: Columns in which two revisions of the same content may differ.
_OF_THE_REVISION = ("revision", "known_time")


def upsert(connection: Connection, table: Table, frame: pl.DataFrame, *, revises: bool = False) -> None:
    """Write a frame from `keyed` in the connection's transaction.

    On PostgreSQL staged rows stay until the commit, so a transaction should write to a table once; `insert` may be repeated.
    With `revises` a row with the stored content changes nothing, and one that replaces another gets a higher revision.
    """
    if connection.dialect.name == "sqlite":
        _insert(connection, table, frame, revises=revises)
        return
    # Writers of the same rows lock them in the same order, so that they cannot deadlock.
    frame = frame.sort(key_columns(table))
    if table in TIME_SERIES:
        lift_decompression_limit(connection)
    if frame.height <= _FEW_ROWS:
        statement = values_statement(table, frame.height, "%s", revises=revises)
        connection.exec_driver_sql(statement, tuple(chain.from_iterable(frame.iter_rows())))
    else:
        _copy_and_merge(connection, table, merge_statement(table, revises=revises), frame)


def insert(connection: Connection, table: Table, frame: pl.DataFrame) -> None:
    """Add a frame from `as_kept` whose keys are new, in the connection's transaction; any number of frames in one."""
    if connection.dialect.name == "sqlite":
        _insert(connection, table, frame, revises=False)
        return
    if table in TIME_SERIES:
        lift_decompression_limit(connection)
    _copy(connection, copy_statement(table, table.name), frame)


def is_one_statement(table: Table, frame: pl.DataFrame) -> bool:
    """Whether `upsert` is a single statement on PostgreSQL, which needs no explicit transaction."""
    return frame.height == 1 <= _FEW_ROWS and table not in TIME_SERIES


def remove(connection: Connection, table: Table, frame: pl.DataFrame) -> None:
    """Delete the rows with these keys (`key_columns`) in the connection's transaction."""
    if table in TIME_SERIES:
        lift_decompression_limit(connection)
    target = twin(table)
    match = (target.c[name] == sa.bindparam(f"of_{name}") for name in key_columns(table))
    keys = frame.sort(key_columns(table)).rename(lambda name: f"of_{name}")
    connection.execute(sa.delete(target).where(*match), keys.rows(named=True))


def values_statement(table: Table, rows: int = 1, mark: str = "?", *, revises: bool = False) -> str:
    """The upsert of `rows` rows with a mark for each value: `?` for SQLite, `%s` for PostgreSQL."""
    columns = list(twin(table).columns.keys())
    marks = "), (".join([", ".join([mark] * len(columns))] * rows)
    conflict = _on_conflict(table, "max" if mark == "?" else "greatest", revises=revises)
    return f"INSERT INTO {_names([table.name])} ({_names(columns)}) VALUES ({marks}) {conflict}"  # noqa: S608 - names are ours


def staging_name(table: Table) -> str:
    """The temporary table that COPY fills."""
    return f"staging_{table.name}"


def staging_statement(table: Table) -> str:
    """The staging table: no index, no constraint, emptied at the end of each transaction."""
    return f"CREATE TEMPORARY TABLE IF NOT EXISTS {staging_name(table)} (LIKE {_names([table.name])}) ON COMMIT DELETE ROWS"


def copy_statement(table: Table, target: str | None = None) -> str:
    """COPY into the staging table, or into another of the same columns."""
    columns = _names(list(twin(table).columns.keys()))
    return f"COPY {_names([target or staging_name(table)])} ({columns}) FROM STDIN (FORMAT csv, NULL '{CSV_NULL}')"


def merge_statement(table: Table, *, revises: bool = False) -> str:
    """From the staging table into the table."""
    columns = _names(list(twin(table).columns.keys()))
    conflict = _on_conflict(table, "greatest", revises=revises)
    return f"INSERT INTO {_names([table.name])} ({columns}) SELECT {columns} FROM {staging_name(table)} {conflict}"  # noqa: S608 - names are ours


def _insert(connection: Connection, table: Table, frame: pl.DataFrame, *, revises: bool) -> None:
    cursor: Any = _cursor(connection)
    try:
        for rows in sqlite_rows(frame):
            values, at = list(chain.from_iterable(rows)), 0
            for size in _ROWS_A_STATEMENT:
                step = size * frame.width
                ends = range(at + step, len(values) + 1, step)
                statement = values_statement(table, size, revises=revises) if ends else ""
                for end in ends:
                    cursor.execute(statement, values[end - step : end])
                at = ends[-1] if ends else at
    finally:
        cursor.close()


def _copy_and_merge(connection: Connection, table: Table, merge: str, frame: pl.DataFrame) -> None:
    connection.exec_driver_sql(staging_statement(table))
    _copy(connection, copy_statement(table), frame)
    connection.exec_driver_sql(merge)


def _copy(connection: Connection, statement: str, frame: pl.DataFrame) -> None:
    cursor: Any = _cursor(connection)
    try:
        cursor.copy_expert(statement, io.BytesIO(csv_block(frame)))
    finally:
        cursor.close()


def _cursor(connection: Connection) -> DBAPICursor:
    driver = connection.connection.dbapi_connection
    assert driver is not None  # noqa: S101 - a connection in a transaction has one
    return driver.cursor()


def _on_conflict(table: Table, greater: str, *, revises: bool) -> str:
    key, kept = key_columns(table), f'"{table.name}".'
    others = [name for name in twin(table).columns.keys() if name not in key]  # noqa: SIM118 - a collection, no dict
    content = [name for name in others if name not in _OF_THE_REVISION] if revises else others
    changes = [f'"{name}" = excluded."{name}"' for name in content]
    condition = ""
    if revises:
        changes.append(f'"known_time" = {greater}(excluded."known_time", {kept}"known_time")')
        changes.append(f'"revision" = {greater}(excluded."revision", {kept}"revision" + 1)')
        condition = " WHERE " + " OR ".join(f'{kept}"{name}" IS DISTINCT FROM excluded."{name}"' for name in content)
    return f"ON CONFLICT ({_names(list(key))}) DO UPDATE SET {', '.join(changes)}{condition}"


def _names(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
