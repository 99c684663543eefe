"""Queries over the operational database's tables, by market, symbol, time and any column."""

import datetime as dt
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tapewatch.market.schema import Table
from tapewatch.store.database.rows import selectable
from tapewatch.store.database.tables import key_columns, time_column, twin


@dataclass(frozen=True, slots=True)
class Question:
    """What to read. `start` and `end` bound the table's time, half open; its `date` where it has no time."""

    market: str | None = None
    symbol: str | None = None
    start: dt.datetime | None = None
    end: dt.datetime | None = None
    where: Mapping[str, object] | None = None
    limit: int | None = None
    newest_first: bool = False


def select(table: Table, question: Question, dialect: str) -> sa.Select[Any]:
    """The rows of a table that answer the question, ordered by time and then by key.

    Raises:
        ValueError: the question names a column that the table does not have.
    """
    columns = twin(table).c
    conditions = dict(question.where or {})
    conditions |= {name: value for name in ("market", "symbol") if (value := getattr(question, name)) is not None}
    unknown = [name for name in conditions if name not in columns]
    if unknown:
        raise ValueError(f"{table.name} has no column {', '.join(unknown)}; it has {', '.join(columns.keys())}")
    query = sa.select(*selectable(table, dialect))
    for name, value in conditions.items():
        query = query.where(_condition(columns[name], value))
    for bound in _bounds(table, question):
        query = query.where(bound)
    order = columns[time_column(table) or "date"]
    query = query.order_by(
        order.desc() if question.newest_first else order,
        *(columns[name] for name in key_columns(table) if columns[name] is not order),
    )
    return query if question.limit is None else query.limit(question.limit)


def _condition(column: sa.Column[Any], value: object) -> sa.ColumnElement[bool]:
    if value is None:
        return column.is_(None)
    if isinstance(value, Collection) and not isinstance(value, str | bytes):
        return column.in_(value)
    return column == value


def _bounds(table: Table, question: Question) -> Iterator[sa.ColumnElement[bool]]:
    time = time_column(table)
    if time is not None:
        column = twin(table).c[time]
        if question.start is not None:
            yield column >= question.start
        if question.end is not None:
            yield column < question.end
        return
    day = twin(table).c.date
    if question.start is not None:
        yield day >= question.start.astimezone(dt.UTC).date()
    if question.end is not None:
        yield day <= (question.end.astimezone(dt.UTC) - dt.timedelta(microseconds=1)).date()
