"""The operational database: writing to its tables and reading from them."""

import datetime as dt
from collections.abc import Mapping
from typing import Self

import polars as pl
import sqlalchemy as sa

from tapewatch.market.instruments import Market, Partition
from tapewatch.market.schema import Table
from tapewatch.market.tables.tape import ANOMALIES
from tapewatch.masking import masked
from tapewatch.store.database import queries, upserts
from tapewatch.store.database.engine import PATIENCE_S, DatabaseError, connect, parse, transaction
from tapewatch.store.database.rows import frame_of, keyed, keys_of
from tapewatch.store.database.schema import ensure_current
from tapewatch.store.database.tables import twin

__all__ = ["Database", "DatabaseError"]


class Database:
    """A handle on the operational database. Safe to share between threads; use as a context manager or call `close`.

    Opening it upgrades the schema. Any number of processes may write at once; on SQLite they wait for each other.

    Args:
        url: SQLAlchemy URL. `postgresql://` is read as `postgresql+psycopg2://`. The folder of a SQLite file is made.
        patience_s: how long a writer waits for another transaction on SQLite.
        upgrades: False leaves the schema as it is.

    Raises:
        DatabaseError: it cannot be reached, the schema cannot be upgraded, or belongs to a newer Tapewatch.
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
        return masked(self.url.render_as_string(hide_password=True))

    def upsert(self, table: Table, partition: Partition, frame: pl.DataFrame) -> int:
        """Add the rows whose key is new and replace those whose key exists, in one transaction.

        The key is the market and `table.key` (the date too, for a table without a time). Of rows with the same key the last
        is stored. Times are stored in microseconds; a NUL character in text becomes U+2400.

        Returns: how many rows were added or replaced.

        Raises:
            SchemaError: the frame does not fit the table.
            ValueError: the database has no such table.
            DatabaseError: the database refuses; nothing was written. If `is_transient`, try again later.
        """
        return self._upsert(table, partition, frame)

    def revise(self, table: Table, partition: Partition, frame: pl.DataFrame) -> int:
        """As `upsert`, for a table with `revision` and `known_time`.

        A row with the values that are stored already changes nothing. A row that replaces another gets a higher revision,
        and is known no earlier: a process that restarts its count continues from what the database holds.

        Returns: how many rows were compared with the stored ones.

        Raises: as `upsert`.
        """
        return self._upsert(table, partition, frame, revises=True)

    def _upsert(self, table: Table, partition: Partition, frame: pl.DataFrame, *, revises: bool = False) -> int:
        twin(table)
        rows = keyed(table, partition, frame)
        if rows.height:
            is_one = not revises and upserts.is_one_statement(table, rows)
            with transaction(self.engine, is_one_statement=is_one) as connection:
                upserts.upsert(connection, table, rows, revises=revises)
        return rows.height

    def remove(self, table: Table, partition: Partition, keys: pl.DataFrame) -> int:
        """Delete the market's rows with these `table.key`, in one transaction.

        Returns: how many keys there were.

        Raises:
            ValueError: the database has no such table.
            DatabaseError: the database refuses; nothing was deleted. If `is_transient`, try again later.
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
        """Rows of a table in order of time: `market` (text) and `date`, then the columns of the table.

        Args:
            start, end: bounds of the table's time column, half open; of its `date` if it has no time.
            where: column to value; None selects nulls, a collection any of its values.
            limit: the most rows to read.
            newest_first: in descending order of time.

        Raises:
            ValueError: a time has no zone, a column is unknown, or the database has no such table.
            DatabaseError: the database cannot be read.
        """
        asked = {"market": market and str(market), "symbol": symbol}
        conditions = {**(where or {}), **{name: value for name, value in asked.items() if value is not None}}
        query = queries.select(
            table,
            self.engine.dialect.name,
            where=conditions,
            start=start,
            end=end,
            limit=limit,
            newest_first=newest_first,
        )
        with transaction(self.engine, reads_only=True) as connection:
            rows = connection.execute(query).all()
        return frame_of(table, rows, self.engine.dialect.name)

    def replace_anomalies(self, partition: Partition, events: pl.DataFrame) -> int:
        """Replace all events of a market's day by `events` (`ANOMALIES`); see `replace_day`."""
        return self.replace_day(ANOMALIES, partition, events)

    def replace_day(self, table: Table, partition: Partition, events: pl.DataFrame) -> int:
        """Replace all rows of a market's day, in one transaction; an empty frame clears the day.

        Returns: how many rows the day now holds.

        Raises:
            SchemaError: the frame does not fit the table.
            DatabaseError: the database refuses, for instance because a key occurs twice; the day stays as it was.
        """
        events = table.conform(events)
        table.check(events)
        place = {"market": str(partition.market), "date": partition.date}
        rows = [place | row for row in events.iter_rows(named=True)]
        kept = twin(table)
        columns = kept.c
        with transaction(self.engine) as connection:
            connection.execute(sa.delete(kept).where(columns.market == place["market"], columns.date == place["date"]))
            if rows:
                connection.execute(sa.insert(kept), rows)
        return len(rows)

    def anomalies(
        self, symbol: str | None = None, start: dt.datetime | None = None, end: dt.datetime | None = None
    ) -> pl.DataFrame:
        """Events (`ANOMALIES`) that begin in [start, end), of one symbol or of all, sorted by symbol and start.

        Raises:
            ValueError: a time has no zone.
            DatabaseError: the database cannot be read.
        """
        events = self.read(ANOMALIES, symbol=symbol, start=start, end=end).select(ANOMALIES.schema.names())
        return events.sort(pl.col("symbol").cast(pl.String), "start_time", maintain_order=True)
