"""The operational database: SQL tables made from the platform's table definitions, and what is read from them.

Belongs here: engines, dialects, tables, transactions. Not here: the lake's bulk data, or what an anomaly is. Migrations
work on `metadata`; until the first one exists, the schema is created where it is absent.
"""

import datetime as dt
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import polars as pl
import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.types import TypeEngine

from tapewatch.market.instruments import Partition
from tapewatch.market.schema import Table
from tapewatch.market.tables import ANOMALIES

SQLITE_BUSY_TIMEOUT_MS = 30_000
#: Any constant will do: it serialises schema creation by processes that start together on PostgreSQL.
_SCHEMA_LOCK = 0x7A9E
_PARTITION_COLUMNS = ("market", "date")


class DatabaseError(RuntimeError):
    """The database refuses or cannot be reached; the message names its address, without the password."""


class UtcDateTime(sa.types.TypeDecorator[dt.datetime]):
    """A moment in UTC, in microseconds. Dialects that keep no time zone get the naive UTC time, and give it back aware."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: sa.Dialect) -> dt.datetime | None:
        """UTC for the database; a naive time raises ValueError."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} names no time zone: times are UTC and aware")
        utc = value.astimezone(dt.UTC)
        return utc if dialect.name == "postgresql" else utc.replace(tzinfo=None)

    def process_result_value(self, value: dt.datetime | None, dialect: sa.Dialect) -> dt.datetime | None:  # noqa: ARG002
        """An aware UTC time, whichever zone the session speaks."""
        if value is None:
            return None
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


_SQL_TYPES: dict[pl.DataType, TypeEngine[Any]] = {
    pl.Datetime("ns", "UTC"): UtcDateTime(),
    pl.Categorical(): sa.Text(),
    pl.String(): sa.Text(),
    pl.Float64(): sa.Double(),
    pl.Int64(): sa.BigInteger(),
    pl.Int32(): sa.Integer(),
    pl.Int16(): sa.SmallInteger(),
    pl.Int8(): sa.SmallInteger(),
    pl.Boolean(): sa.Boolean(),
}


def sql_table(table: Table, metadata: sa.MetaData) -> sa.Table:
    """The SQL twin of a table definition: its columns and comments, and before them the partition they came from.

    The key is led by `market`, since a futures contract and a stock may share a symbol; (market, date) is indexed.
    """
    columns = [
        sa.Column(c.name, _SQL_TYPES[c.dtype], nullable=c.is_nullable, comment=_comment(c.description, c.unit))
        for c in table.columns
    ]
    return sa.Table(
        table.name,
        metadata,
        sa.Column("market", sa.Text(), nullable=False, comment="market of the partition"),
        sa.Column("date", sa.Date(), nullable=False, comment="date of the partition"),
        *columns,
        sa.PrimaryKeyConstraint("market", *table.key, name=f"pk_{table.name}"),
        sa.Index(f"ix_{table.name}_partition", *_PARTITION_COLUMNS),
        comment=table.description,
    )


def _comment(description: str, unit: str) -> str:
    return f"{description} [{unit}]" if unit else description


metadata = sa.MetaData()
anomalies_table = sql_table(ANOMALIES, metadata)


class Database:
    """A handle on the operational database. Safe to share between threads; use as a context manager or call `close`.

    Args:
        url: SQLAlchemy URL. `postgresql://` is read as `postgresql+psycopg2://`. The folder of a SQLite file is made.

    Raises:
        DatabaseError: it cannot be reached or the schema cannot be created.
    """

    def __init__(self, url: str) -> None:
        self.url = _with_driver(make_url(url))
        if self.url.get_backend_name() == "sqlite" and self.url.database not in (None, "", ":memory:"):
            Path(str(self.url.database)).parent.mkdir(parents=True, exist_ok=True)
        self.engine = _engine(self.url)
        self._create_schema()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Return every connection."""
        self.engine.dispose()

    def replace_anomalies(self, partition: Partition, events: pl.DataFrame) -> int:
        """Make `events` (`ANOMALIES`) the whole of what is known of a market's day, in one transaction.

        Twice equals once; an empty frame clears the day. A failure leaves the day as it was.

        Returns: how many events the day now holds.

        Raises:
            SchemaError: the frame does not fit `ANOMALIES`.
            DatabaseError: the database refuses, for instance because a key occurs twice.
        """
        return self._replace(ANOMALIES, anomalies_table, partition, events)

    def anomalies(
        self, symbol: str | None = None, start: dt.datetime | None = None, end: dt.datetime | None = None
    ) -> pl.DataFrame:
        """Events (`ANOMALIES`) that begin in [start, end), of one symbol or of all, sorted by symbol and start.

        Raises:
            ValueError: a time names no zone.
            DatabaseError: the database cannot be read.
        """
        columns = anomalies_table.c
        query = sa.select(*(columns[name] for name in ANOMALIES.schema)).order_by(columns.symbol, columns.start_time)
        if symbol is not None:
            query = query.where(columns.symbol == symbol)
        if start is not None:
            query = query.where(columns.start_time >= start)
        if end is not None:
            query = query.where(columns.start_time < end)
        with self._transaction() as connection:
            rows = connection.execute(query).all()
        return _frame(ANOMALIES, (tuple(row) for row in rows))

    def _replace(self, table: Table, target: sa.Table, partition: Partition, frame: pl.DataFrame) -> int:
        frame = table.conform(frame)
        table.check(frame)
        place = {"market": str(partition.market), "date": partition.date}
        rows = [place | row for row in frame.iter_rows(named=True)]
        with self._transaction() as connection:
            connection.execute(
                sa.delete(target).where(target.c.market == place["market"], target.c.date == place["date"])
            )
            if rows:
                connection.execute(sa.insert(target), rows)
        return len(rows)

    def _create_schema(self) -> None:
        with self._transaction() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_SCHEMA_LOCK)))
            for table in metadata.sorted_tables:
                connection.execute(sa.schema.CreateTable(table, if_not_exists=True))
                for index in table.indexes:
                    connection.execute(sa.schema.CreateIndex(index, if_not_exists=True))

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with self.engine.begin() as connection:
                yield connection
        except sa.exc.StatementError as error:
            if isinstance(error.orig, ValueError):
                raise error.orig from error
            raise self._refusal(error) from error
        except sa.exc.SQLAlchemyError as error:
            raise self._refusal(error) from error

    def _refusal(self, error: sa.exc.SQLAlchemyError) -> DatabaseError:
        cause = getattr(error, "orig", None) or error
        return DatabaseError(f"database {self.url.render_as_string(hide_password=True)}: {str(cause).strip()}")


def _frame(table: Table, rows: Iterable[tuple[Any, ...]]) -> pl.DataFrame:
    microseconds = {
        name: pl.Datetime("us", "UTC") if isinstance(dtype, pl.Datetime) else dtype
        for name, dtype in table.schema.items()
    }
    return pl.DataFrame(list(rows), schema=microseconds, orient="row").cast(table.schema)


def _with_driver(url: URL) -> URL:
    # From 2.1 SQLAlchemy reads the bare name as psycopg 3, which is not what the extra `postgres` installs.
    return url.set(drivername="postgresql+psycopg2") if url.drivername in ("postgresql", "postgres") else url


def _engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return sa.create_engine(url, pool_pre_ping=True)
    engine = sa.create_engine(url, connect_args={"timeout": SQLITE_BUSY_TIMEOUT_MS / 1000})
    sa.event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    try:
        cursor.execute(f"PRAGMA busy_timeout = {SQLITE_BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")
    finally:
        cursor.close()
