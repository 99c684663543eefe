"""SQL tables of the operational database, made from the table definitions: types, keys and indexes."""

import datetime as dt
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy.types import TypeEngine

from tapewatch.market.schema import Table
from tapewatch.market.tables.accounts import ACCOUNTS
from tapewatch.market.tables.derived import INCIDENTS
from tapewatch.market.tables.features import LIVE_FAMILIES, MARKET_MICROSTRUCTURE
from tapewatch.market.tables.live import ALERTS, GAPS, LIVE, LIVE_BARS, LIVE_INFORMATION_BARS, LIVE_MICROSTRUCTURE
from tapewatch.market.tables.tape import ANOMALIES, COVERAGE

#: Every table of the operational database.
SQL_TABLES: tuple[Table, ...] = (ANOMALIES, INCIDENTS, COVERAGE, *LIVE_FAMILIES, *LIVE, *ACCOUNTS)
#: Tables that grow with the tape, row after row in time.
TIME_SERIES: tuple[Table, ...] = (
    LIVE_BARS,
    LIVE_INFORMATION_BARS,
    LIVE_MICROSTRUCTURE,
    MARKET_MICROSTRUCTURE,
    *LIVE_FAMILIES,
)
PARTITION_COLUMNS = ("market", "date")
_TIME_COLUMNS = ("time", "event_time", "start_time", "at_time", "created_time", "received_time")
_OPEN_ROWS = {ALERTS.name: "end_time IS NULL", GAPS.name: "status IN ('growing', 'open')"}


class UtcDateTime(sa.types.TypeDecorator[dt.datetime]):
    """A UTC time in microseconds. An engine without time zones stores the naive UTC time."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: sa.Dialect) -> dt.datetime | None:
        """UTC for the database; a naive time raises ValueError."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone: times are UTC and aware")
        utc = value.astimezone(dt.UTC)
        return utc if dialect.name == "postgresql" else utc.replace(tzinfo=None)

    def process_result_value(self, value: dt.datetime | None, dialect: sa.Dialect) -> dt.datetime | None:  # noqa: ARG002
        """An aware UTC time, whatever the zone of the session."""
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


def key_columns(table: Table) -> tuple[str, ...]:
    """The primary key: `market` first, since a futures contract and a stock may share a symbol; `date` if there is no time."""
    return ("market", "date", *table.key) if time_column(table) is None else ("market", *table.key)


def time_column(table: Table) -> str | None:
    """The column for ranges of time; None if a row describes a day (`date`)."""
    return next((name for name in _TIME_COLUMNS if name in table.by_name), None)


def open_rows(table: Table) -> str | None:
    """The SQL condition of rows about something that has not ended; None if the table has no such rows."""
    return _OPEN_ROWS.get(table.name)


def sql_table(table: Table, metadata: sa.MetaData) -> sa.Table:
    """The SQL table of a definition: market and date of the partition, then its columns, with comments."""
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
        sa.PrimaryKeyConstraint(*key_columns(table), name=f"pk_{table.name}"),
        *_indexes(table),
        comment=table.description,
    )


def _indexes(table: Table) -> list[sa.Index]:
    time = time_column(table)
    if table in TIME_SERIES and time is not None:
        # Rows arrive in order of time, so block ranges find a range of it at little cost in writing and space. The table is
        # not partitioned: partitions must be made ahead, and only a plain table can become a hypertable.
        block_ranges = {"autosummarize": "on"}
        return [sa.Index(f"ix_{table.name}_{time}", time, postgresql_using="brin", postgresql_with=block_ranges)]
    indexes = [sa.Index(f"ix_{table.name}_partition", *PARTITION_COLUMNS)]
    if time is not None:
        indexes.append(sa.Index(f"ix_{table.name}_{time}", time))
    if (is_open := open_rows(table)) is not None:
        where = sa.text(is_open)
        indexes.append(sa.Index(f"ix_{table.name}_open", "market", postgresql_where=where, sqlite_where=where))
    return indexes


def _comment(description: str, unit: str) -> str:
    return f"{description} [{unit}]" if unit else description


metadata = sa.MetaData()
_BY_NAME = {table.name: sql_table(table, metadata) for table in SQL_TABLES}


def twin(table: Table) -> sa.Table:
    """The SQL table of a definition.

    Raises:
        ValueError: the database has no such table.
    """
    if table not in SQL_TABLES:
        raise ValueError(
            f"{table.group}/{table.name} is not kept in the database; it keeps {', '.join(t.name for t in SQL_TABLES)}"
        )
    return _BY_NAME[table.name]
