"""Counts and deletes old rows, a day at a time. Open alerts and gaps are kept."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tapewatch.market.schema import Table
from tapewatch.store.database.engine import transaction
from tapewatch.store.database.people.audit import record
from tapewatch.store.database.tables import open_rows, time_column, twin
from tapewatch.store.database.upkeep import timescale


@dataclass(frozen=True, slots=True)
class Expiry:
    """A table's rows of before `before`."""

    table: Table
    before: dt.datetime
    rows: int
    oldest: dt.datetime | dt.date | None


def expired(engine: Engine, table: Table, before: dt.datetime) -> Expiry:
    """The rows that `delete` would delete.

    Raises:
        DatabaseError: the database cannot be read.
    """
    query = sa.select(sa.func.count(), sa.func.min(_order(table))).where(_is_old(table, before))
    with transaction(engine, reads_only=True) as connection:
        rows, oldest = connection.execute(query).one()
    return Expiry(table, before, int(rows), oldest)


def delete(engine: Engine, expiry: Expiry, actor: str) -> int:
    """Delete those rows, each day in a transaction of its own so that other writers wait little, after an audit entry.

    Returns: rows deleted; on a hypertable, which drops whole chunks, the rows that were counted.

    Raises:
        DatabaseError: the database refuses.
    """
    table, before = expiry.table, expiry.before
    with transaction(engine) as connection:
        record(connection, actor, "retain", table.name, {"before": before.isoformat(), "rows": expiry.rows})
        is_chunked = table.name in timescale.hypertables(connection)
        if is_chunked:
            connection.exec_driver_sql(timescale.drop_chunks(table.name, before))
    deleted = 0
    while (oldest := _oldest(engine, table, before)) is not None:
        with transaction(engine) as connection:
            timescale.lift_decompression_limit(connection)
            gone = connection.execute(sa.delete(twin(table)).where(_is_old(table, min(_next_day(oldest), before))))
        deleted += gone.rowcount
    return expiry.rows if is_chunked else deleted


def _oldest(engine: Engine, table: Table, before: dt.datetime) -> dt.datetime | dt.date | None:
    with transaction(engine, reads_only=True) as connection:
        moment: dt.datetime | dt.date | None = connection.scalar(
            sa.select(sa.func.min(_order(table))).where(_is_old(table, before))
        )
    return moment


def _next_day(moment: dt.datetime | dt.date) -> dt.datetime:
    day = moment.date() if isinstance(moment, dt.datetime) else moment
    return dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), dt.UTC)


def _order(table: Table) -> sa.Column[Any]:
    return twin(table).c[time_column(table) or "date"]


def _is_old(table: Table, before: dt.datetime) -> sa.ColumnElement[bool]:
    limit = before if time_column(table) is not None else before.date()
    is_old: sa.ColumnElement[bool] = _order(table) < limit
    is_open = open_rows(table)
    return is_old if is_open is None else sa.and_(is_old, sa.text(f"NOT ({is_open})"))
