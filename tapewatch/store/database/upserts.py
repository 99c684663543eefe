"""Bulk upserts: rows that are new are added, rows whose key is there are replaced, or revised; rows that are no more go.

SQLite: some hundred rows a statement. PostgreSQL: COPY into a temporary table that each connection keeps, then one merge;
few rows go as one statement, which needs fewer round trips.
"""

import io
from functools import cache
from itertools import chain
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.engine import Connection
from sqlalchemy.engine.interfaces import DBAPICursor

from tapewatch.market.schema import Table
from tapewatch.store.database.rows import CSV_NULL, csv_block, sqlite_rows
from tapewatch.store.database.tables import TIME_SERIES, key_columns, twin
from tapewatch.store.database.timescale import lift_decompression_limit

#: Up to here one statement with its values is quicker than COPY and merge.
_FEW_ROWS = 30
#: The driver lets go of the interpreter for each statement and waits to have it back: a statement a row is many times slower
#: among busy threads, and the database is locked meanwhile. What is left of a size goes by the next.
_ROWS_A_STATEMENT = (250, 25, 1)
#: What the revision counts, and when it became known: neither makes a row another one.
_OF_THE_REVISION = ("revision", "known_time")


def upsert(connection: Connection, table: Table, frame: pl.DataFrame, *, revises: bool = False) -> None:
    """Write a frame that went through `keyed`, inside the connection's transaction.

    With `revises` a row that says what is there already changes nothing, and one that replaces another has a higher
    revision than that, whoever counted it.
    """
    if connection.dialect.name == "sqlite":
        _insert(connection, table, frame, revises=revises)
        return
    # Whoever writes the same rows at the same time locks them in the same order, so that nobody waits in a circle.
    frame = frame.sort(key_columns(table))
    if table in TIME_SERIES:
        lift_decompression_limit(connection)
    if frame.height <= _FEW_ROWS:
        connection.execute(_merge_of_values(table, revises=revises), frame.rows(named=True))
    else:
        _copy_and_merge(connection, table, merge_statement(table, revises=revises), frame)


def is_one_statement(table: Table, frame: pl.DataFrame) -> bool:
    """Whether `upsert` is a single statement on PostgreSQL, which is a transaction without being told."""
    return frame.height == 1 <= _FEW_ROWS and table not in TIME_SERIES


def remove(connection: Connection, table: Table, frame: pl.DataFrame) -> None:
    """Delete the rows of these keys (`key_columns`), inside the connection's transaction."""
    if table in TIME_SERIES:
        lift_decompression_limit(connection)
    target = twin(table)
    match = (target.c[name] == sa.bindparam(f"of_{name}") for name in key_columns(table))
    keys = frame.sort(key_columns(table)).rename(lambda name: f"of_{name}")
    connection.execute(sa.delete(target).where(*match), keys.rows(named=True))


def sqlite_statement(table: Table, rows: int = 1, *, revises: bool = False) -> str:
    """The upsert of so many rows, with a question mark for each value."""
    columns = list(twin(table).columns.keys())
    marks = "), (".join([", ".join("?" * len(columns))] * rows)
    conflict = _revised(table, "max") if revises else _replaced(table)
    return f"INSERT INTO {_names([table.name])} ({_names(columns)}) VALUES ({marks}) {conflict}"  # noqa: S608 - names are ours


def staging_name(table: Table) -> str:
    """The temporary table that COPY fills."""
    return f"staging_{table.name}"


def staging_statement(table: Table) -> str:
    """The staging table: no index, no constraint, empty again at the end of each transaction."""
    return f"CREATE TEMPORARY TABLE IF NOT EXISTS {staging_name(table)} (LIKE {_names([table.name])}) ON COMMIT DELETE ROWS"


def copy_statement(table: Table) -> str:
    """COPY into the staging table."""
    columns = _names(list(twin(table).columns.keys()))
    return f"COPY {staging_name(table)} ({columns}) FROM STDIN (FORMAT csv, NULL '{CSV_NULL}')"


def merge_statement(table: Table, *, revises: bool = False) -> str:
    """From the staging table into the table."""
    columns = _names(list(twin(table).columns.keys()))
    conflict = _revised(table, "greatest") if revises else _replaced(table)
    return f"INSERT INTO {_names([table.name])} ({columns}) SELECT {columns} FROM {staging_name(table)} {conflict}"  # noqa: S608 - names are ours


def _insert(connection: Connection, table: Table, frame: pl.DataFrame, *, revises: bool) -> None:
    cursor: Any = _cursor(connection)
    try:
        for rows in sqlite_rows(frame):
            values, at = list(chain.from_iterable(rows)), 0
            for size in _ROWS_A_STATEMENT:
                step = size * frame.width
                ends = range(at + step, len(values) + 1, step)
                statement = sqlite_statement(table, size, revises=revises) if ends else ""
                for end in ends:
                    cursor.execute(statement, values[end - step : end])
                at = ends[-1] if ends else at
    finally:
        cursor.close()


def _copy_and_merge(connection: Connection, table: Table, merge: str, frame: pl.DataFrame) -> None:
    connection.exec_driver_sql(staging_statement(table))
    cursor: Any = _cursor(connection)
    try:
        cursor.copy_expert(copy_statement(table), io.BytesIO(csv_block(frame)))
    finally:
        cursor.close()
    connection.exec_driver_sql(merge)


def _cursor(connection: Connection) -> DBAPICursor:
    driver = connection.connection.dbapi_connection
    assert driver is not None  # noqa: S101 - a connection in a transaction has one
    return driver.cursor()


def _merge_of_values(table: Table, *, revises: bool) -> sa.Insert:
    return _merge_into(twin(table), revises=revises)


@cache
def _merge_into(target: sa.Table, *, revises: bool) -> sa.Insert:
    statement, kept = postgres_insert(target), target.c
    key = [column.name for column in target.primary_key]
    new: dict[str, Any] = {column.name: statement.excluded[column.name] for column in kept if column.name not in key}
    if not revises:
        return statement.on_conflict_do_update(index_elements=key, set_=new)
    differs = (kept[name].is_distinct_from(new[name]) for name in new if name not in _OF_THE_REVISION)
    changes = new | {
        "revision": sa.func.greatest(new["revision"], kept["revision"] + 1),
        "known_time": sa.func.greatest(new["known_time"], kept["known_time"]),
    }
    return statement.on_conflict_do_update(index_elements=key, set_=changes, where=sa.or_(*differs))


def _replaced(table: Table) -> str:
    replaced = ", ".join(f'"{name}" = excluded."{name}"' for name in _others(table))
    return f"ON CONFLICT ({_names(list(key_columns(table)))}) DO UPDATE SET {replaced}"


def _revised(table: Table, greater: str) -> str:
    kept = f'"{table.name}".'
    revised = f'"revision" = {greater}(excluded."revision", {kept}"revision" + 1)'
    known = f'"known_time" = {greater}(excluded."known_time", {kept}"known_time")'
    said = ", ".join(f'"{name}" = excluded."{name}"' for name in _said(table))
    differs = " OR ".join(f'{kept}"{name}" IS DISTINCT FROM excluded."{name}"' for name in _said(table))
    return f"ON CONFLICT ({_names(list(key_columns(table)))}) DO UPDATE SET {said}, {known}, {revised} WHERE {differs}"


def _said(table: Table) -> list[str]:
    return [name for name in _others(table) if name not in _OF_THE_REVISION]


def _others(table: Table) -> list[str]:
    return [name for name in twin(table).columns.keys() if name not in key_columns(table)]  # noqa: SIM118 - a collection, no dict


def _names(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
