"""Describes a database and its contents, without changing it."""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tapewatch.market.schema import Table
from tapewatch.masking import masked
from tapewatch.store.database.engine import DatabaseError, connect, parse, transaction
from tapewatch.store.database.schema import revision_of
from tapewatch.store.database.tables import SQL_TABLES, time_column, twin
from tapewatch.store.database.upkeep import timescale
from tapewatch.store.database.upkeep.timescale import FailingJob


@dataclass(frozen=True, slots=True)
class TableStatus:
    """One table. `size` is in bytes with its indexes, None if the engine does not report it."""

    name: str
    rows: int
    size: int | None
    oldest: dt.datetime | dt.date | None
    newest: dt.datetime | dt.date | None


@dataclass(frozen=True, slots=True)
class DatabaseStatus:
    """The whole database. `revision` is None if no Tapewatch has opened it; `timescale` describes the extension in words.

    `failing_jobs` are jobs of TimescaleDB; None where it is not in use.
    """

    address: str
    engine: str
    revision: str | None
    timescale: str
    size: int
    failing_jobs: tuple[FailingJob, ...] | None
    tables: tuple[TableStatus, ...]


def status(url: str) -> DatabaseStatus:
    """Describe a database without an upgrade, and without making a SQLite file.

    Raises:
        DatabaseError: there is none, or it cannot be read.
    """
    address = parse(url)
    file = address.database
    if address.get_backend_name() == "sqlite" and (file is None or not Path(file).exists()):
        raise DatabaseError(f"there is no database at {file} yet: `tapewatch db upgrade` makes it")
    engine = connect(address)
    try:
        with transaction(engine, reads_only=True) as connection:
            present = set(sa.inspect(connection).get_table_names())
            chunked = timescale.hypertables(connection)
            return DatabaseStatus(
                masked(address.render_as_string(hide_password=True)),
                _engine_name(connection),
                revision_of(connection),
                _timescale(connection),
                _size(connection),
                tuple(timescale.failing_jobs(connection)) if chunked else None,
                tuple(_table(connection, table, chunked) for table in SQL_TABLES if table.name in present),
            )
    finally:
        engine.dispose()


def _table(connection: Connection, table: Table, chunked: set[str]) -> TableStatus:
    moment = twin(table).c[time_column(table) or "date"]
    rows, oldest, newest = connection.execute(
        sa.select(sa.func.count(), sa.func.min(moment), sa.func.max(moment)).select_from(twin(table))
    ).one()
    return TableStatus(table.name, int(rows), _table_size(connection, table.name, chunked), oldest, newest)


def _table_size(connection: Connection, name: str, chunked: set[str]) -> int | None:
    if connection.dialect.name == "postgresql":
        statement = timescale.size(name) if name in chunked else f"SELECT pg_total_relation_size('{name}')"
        return int(connection.exec_driver_sql(statement).scalar_one())
    try:
        # A page belongs to a table or to one of its indexes.
        pages = "SELECT sum(pgsize) FROM dbstat WHERE aggregate = TRUE AND name IN (SELECT name FROM sqlite_master WHERE tbl_name = ?)"
        return int(connection.exec_driver_sql(pages, (name,)).scalar_one())
    except sa.exc.OperationalError:
        return None  # not every build of SQLite has this table


def _size(connection: Connection) -> int:
    if connection.dialect.name == "postgresql":
        return int(connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one())
    pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    return int(pages * connection.exec_driver_sql("PRAGMA page_size").scalar_one())


def _engine_name(connection: Connection) -> str:
    version = ".".join(str(part) for part in connection.dialect.server_version_info or ())
    return f"{'PostgreSQL' if connection.dialect.name == 'postgresql' else 'SQLite'} {version}"


def _timescale(connection: Connection) -> str:
    if connection.dialect.name != "postgresql":
        return "not on SQLite"
    if (version := connection.scalar(sa.text(timescale.INSTALLED_VERSION))) is not None:
        if timescale.is_apache(connection):
            return f"{version}, Apache edition: not used, since compression and policies need the Community edition"
        return (
            f"{version}, in use" if timescale.hypertables(connection) else f"{version}: `tapewatch db upgrade` uses it"
        )
    if connection.scalar(sa.text(timescale.AVAILABLE_VERSION)) is not None:
        return "on the server: `CREATE EXTENSION timescaledb`, then `tapewatch db upgrade`"
    return "not on the server"
