"""The operational database: what is written into its tables and read from them."""

import datetime as dt
from collections.abc import Mapping
from typing import Self

import polars as pl
import sqlalchemy as sa

from tapewatch.market.instruments import Market, Partition
from tapewatch.market.schema import Table
from tapewatch.market.tables import ANOMALIES
from tapewatch.store.database import queries, upserts
from tapewatch.store.database.engine import PATIENCE_S, DatabaseError, connect, parse, transaction
from tapewatch.store.database.rows import frame_of, keyed, keys_of
from tapewatch.store.database.schema import ensure_current
from tapewatch.store.database.tables import SQL_TABLES, UtcDateTime, anomalies_table, metadata, sql_table, twin

__all__ = [
    "SQL_TABLES",
    "Database",
    "DatabaseError",
    "UtcDateTime",
    "anomalies_table",
    "metadata",
    "sql_table",
]


class Database:
    """A handle on the operational database. Safe to share between threads; use as a context manager or call `close`.

    Opening it brings the schema up to date. Any number of processes may write at once: SQLite lets them in one after the other.

    Args:
        url: SQLAlchemy URL. `postgresql://` is read as `postgresql+psycopg2://`. The folder of a SQLite file is made.
        patience_s: how long a writer of SQLite waits for another's transaction to end.
        upgrades: False opens it as it is.

    Raises:
        DatabaseError: it cannot be reached, the schema cannot be brought up to date, or belongs to a newer Tapewatch.
    """

    def __init__(self, url: str, *, patience_s: float = PATIENCE_S, upgrades: bool = True) -> None:
        self.url = parse(url)
        self.engine = connect(self.url, patience_s)
        if not upgrades:
            return
        try:
            ensure_current(self.engine)
        except BaseException:
            self.engine.dispose()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Return every connection."""
        self.engine.dispose()

    @property
    def address(self) -> str:
        """The URL, without the password."""
        return self.url.render_as_string(hide_password=True)

    def upsert(self, table: Table, partition: Partition, frame: pl.DataFrame) -> int:
        """Add the rows whose key is new and replace those whose key is there, in one transaction.

        The key is the market and `table.key` (the date too, for a table without a time). A key that occurs twice in the
        frame counts once, with its last row. Times are kept in microseconds; a NUL character in text becomes U+2400.

        Returns: how many rows were added or replaced.

        Raises:
            SchemaError: the frame does not fit the table.
            ValueError: the table is not kept in the database.
            DatabaseError: the database refuses; nothing was written. Where `is_transient`, try again later.
        """
        twin(table)
        rows = keyed(table, partition, frame)
        if rows.height:
            with transaction(self.engine, is_one_statement=upserts.is_one_statement(table, rows)) as connection:
                upserts.upsert(connection, table, rows)
        return rows.height

    def revise(self, table: Table, partition: Partition, frame: pl.DataFrame) -> int:
        """As `upsert`, for a table with `revision` and `known_time`, whoever counts the revisions of what is written.

        A row that says what is kept already changes nothing. One that replaces another gets a revision above that one's,
        and is known no earlier: a process that begins to count anew goes on from what the database holds.

        Returns: how many rows were held against what is kept.

        Raises: as `upsert`.
        """
        twin(table)
        rows = keyed(table, partition, frame)
        if rows.height:
            with transaction(self.engine) as connection:
                upserts.upsert(connection, table, rows, revises=True)
        return rows.height

    def remove(self, table: Table, partition: Partition, keys: pl.DataFrame) -> int:
        """Delete the market's rows whose `table.key` is among the keys, in one transaction; others are left alone.

        Returns: how many keys there were.

        Raises:
            ValueError: the table is not kept in the database.
            DatabaseError: the database refuses; nothing was deleted. Where `is_transient`, try again later.
        """
        twin(table)
        rows = keys_of(table, partition, keys)
        if rows.height:
            with transaction(self.engine) as connection:
                upserts.remove(connection, table, rows)
        return rows.height

    def read(
        self,
        table: Table,
        *,
        market: Market | str | None = None,
        symbol: str | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
        where: Mapping[str, object] | None = None,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> pl.DataFrame:
        """Rows of a table, with its schema led by the columns `market` (text) and `date`, in the order of time.

        Args:
            start, end: bounds of the table's time column, half open; of its `date` where it has none.
            where: column to value; None asks for nulls, a collection for any of its values.
            limit: no more rows than these, the first in the order asked for.
            newest_first: the other way round in time.

        Raises:
            ValueError: a time names no zone, a column is unknown, or the table is not kept in the database.
            DatabaseError: the database cannot be read.
        """
        question = queries.Question(
            None if market is None else str(market), symbol, start, end, where, limit, newest_first
        )
        query = queries.select(table, question, self.engine.dialect.name)
        with transaction(self.engine, reads_only=True) as connection:
            rows = connection.execute(query).all()
        return frame_of(table, rows, self.engine.dialect.name)

    def replace_anomalies(self, partition: Partition, events: pl.DataFrame) -> int:
        """Make `events` (`ANOMALIES`) the whole of what is known of a market's day, in one transaction.

        Twice equals once; an empty frame clears the day. A failure leaves the day as it was.

        Returns: how many events the day now holds.

        Raises:
            SchemaError: the frame does not fit `ANOMALIES`.
            DatabaseError: the database refuses, for instance because a key occurs twice.
        """
        events = ANOMALIES.conform(events)
        ANOMALIES.check(events)
        place = {"market": str(partition.market), "date": partition.date}
        rows = [place | row for row in events.iter_rows(named=True)]
        columns = anomalies_table.c
        with transaction(self.engine) as connection:
            connection.execute(
                sa.delete(anomalies_table).where(columns.market == place["market"], columns.date == place["date"])
            )
            if rows:
                connection.execute(sa.insert(anomalies_table), rows)
        return len(rows)

    def anomalies(
        self, symbol: str | None = None, start: dt.datetime | None = None, end: dt.datetime | None = None
    ) -> pl.DataFrame:
        """Events (`ANOMALIES`) that begin in [start, end), of one symbol or of all, sorted by symbol and start.

        Raises:
            ValueError: a time names no zone.
            DatabaseError: the database cannot be read.
        """
        events = self.read(ANOMALIES, symbol=symbol, start=start, end=end).select(ANOMALIES.schema.names())
        return events.sort(pl.col("symbol").cast(pl.String), "start_time", maintain_order=True)
