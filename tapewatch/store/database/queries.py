"""Queries on tables of the operational database by market, symbol, time and any column."""

import datetime as dt
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from tapewatch.market.schema import Table
from tapewatch.store.database.rows import selectable
from tapewatch.store.database.tables import key_columns, time_column, twin


def select(
    table: Table,
    dialect: str,
    *,
    where: Mapping[str, object],
    start: dt.datetime | None = None,
    end: dt.datetime | None = None,
    limit: int | None = None,
    newest_first: bool = False,
) -> sa.Select[Any]:
    """The rows of `Database.read`, ordered by time and then by key.

    Raises:
        ValueError: the table has no such column.
    """
    columns = twin(table).c
    unknown = [name for name in where if name not in columns]
    if unknown:
        raise ValueError(f"{table.name} has no column {', '.join(unknown)}; it has {', '.join(columns.keys())}")
    query = sa.select(*selectable(table, dialect))
    query = query.where(
        *(_condition(columns[name], value) for name, value in where.items()), *_bounds(table, start, end)
    )
    order = columns[time_column(table) or "date"]
    query = query.order_by(
        order.desc() if newest_first else order,
        *(columns[name] for name in key_columns(table) if columns[name] is not order),
    )
    return query if limit is None else query.limit(limit)


def _condition(column: sa.Column[Any], value: object) -> sa.ColumnElement[bool]:
    if value is None:
        return column.is_(None)
    if isinstance(value, Collection) and not isinstance(value, str | bytes):
        return column.in_(value)
    return column == value


def _bounds(table: Table, start: dt.datetime | None, end: dt.datetime | None) -> Iterator[sa.ColumnElement[bool]]:
    time = time_column(table)
    column = twin(table).c[time or "date"]
    if start is not None:
        yield column >= (start if time else start.astimezone(dt.UTC).date())
    if end is not None:
        last = end.astimezone(dt.UTC) - dt.timedelta(microseconds=1)
        yield column < end if time else column <= last.date()
