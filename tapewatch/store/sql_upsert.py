"""Bulk upserts: rows that are new are added, rows whose key is there are replaced.

SQLite: one `executemany`. PostgreSQL: COPY into a temporary table that each connection keeps, then one merge; few rows go as one
statement, which needs fewer round trips. Belongs here: the statements. Not here: transactions, or how values are spelt.
"""

import io
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.engine import Connection
from sqlalchemy.engine.interfaces import DBAPICursor

from tapewatch.market.schema import Table
from tapewatch.store.sql_rows import CSV_NULL, csv_block, sqlite_rows
from tapewatch.store.sql_tables import key_columns, twin
from tapewatch.store.sql_timescale import lift_decompression_limit

#: Up to here one statement with its values is quicker than COPY and merge.
_FEW_ROWS = 30


def upsert(connection: Connection, table: Table, frame: pl.DataFrame) -> None:
    """Write a frame that went through `keyed`, inside the connection's transaction."""
    if connection.dialect.name == "sqlite":
        _executemany(connection, table, frame)
        return
    # Whoever writes the same rows at the same time locks them in the same order, so that nobody waits in a circle.
    frame = frame.sort(key_columns(table))
    if frame.height <= _FEW_ROWS:
        connection.execute(_merge_of_values(table), frame.rows(named=True))
    else:
        _copy_and_merge(connection, table, frame)


def sqlite_statement(table: Table) -> str:
    """The upsert of one row, with a question mark for each column."""
    columns = list(twin(table).columns.keys())
    marks = ", ".join("?" * len(columns))
    return f"INSERT INTO {_names([table.name])} ({_names(columns)}) VALUES ({marks}) {_on_conflict(table)}"  # noqa: S608 - names are ours


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


def merge_statement(table: Table) -> str:
    """From the staging table into the table."""
    columns = _names(list(twin(table).columns.keys()))
    return f"INSERT INTO {_names([table.name])} ({columns}) SELECT {columns} FROM {staging_name(table)} {_on_conflict(table)}"  # noqa: S608 - names are ours


def _executemany(connection: Connection, table: Table, frame: pl.DataFrame) -> None:
    statement = sqlite_statement(table)
    cursor: Any = _cursor(connection)
    try:
        for rows in sqlite_rows(frame):
            cursor.executemany(statement, rows)
    finally:
        cursor.close()


def _copy_and_merge(connection: Connection, table: Table, frame: pl.DataFrame) -> None:
    lift_decompression_limit(connection)
    connection.exec_driver_sql(staging_statement(table))
    cursor: Any = _cursor(connection)
    try:
        cursor.copy_expert(copy_statement(table), io.BytesIO(csv_block(frame)))
    finally:
        cursor.close()
    connection.exec_driver_sql(merge_statement(table))


def _cursor(connection: Connection) -> DBAPICursor:
    driver = connection.connection.dbapi_connection
    assert driver is not None  # noqa: S101 - a connection in a transaction has one
    return driver.cursor()


def _merge_of_values(table: Table) -> sa.Insert:
    statement = postgres_insert(twin(table))
    key = key_columns(table)
    return statement.on_conflict_do_update(
        index_elements=list(key), set_={name: statement.excluded[name] for name in _others(table)}
    )


def _on_conflict(table: Table) -> str:
    replaced = ", ".join(f'"{name}" = excluded."{name}"' for name in _others(table))
    return f"ON CONFLICT ({_names(list(key_columns(table)))}) DO UPDATE SET {replaced}"


def _others(table: Table) -> list[str]:
    return [name for name in twin(table).columns.keys() if name not in key_columns(table)]  # noqa: SIM118 - a collection, no dict


def _names(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
