"""Reads and writes rows of the account tables."""

import datetime as dt
import hashlib
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from tapewatch.market.schema import Table
from tapewatch.store.database.people.audit import EVERY_MARKET
from tapewatch.store.database.tables import twin


def now() -> dt.datetime:
    """The present in UTC, in microseconds."""
    return dt.datetime.now(dt.UTC)


def digest(secret: str) -> str:
    """What is kept of a random secret. It cannot be guessed, so that a quick hash is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()


def insert(connection: sa.Connection, table: Table, row: Mapping[str, Any]) -> None:
    """Add a row. Raises a DatabaseError where its key exists."""
    connection.execute(sa.insert(twin(table)).values(market=EVERY_MARKET, date=now().date(), **row))


def update(connection: sa.Connection, table: Table, key: str, **values: Any) -> int:
    """Change the row with a key; how many there were, 0 or 1."""
    kept = twin(table)
    return connection.execute(sa.update(kept).where(kept.c[table.key[0]] == key).values(**values)).rowcount


def delete(connection: sa.Connection, table: Table, *conditions: sa.ColumnElement[bool]) -> int:
    """Delete the rows that meet all conditions; how many there were."""
    return connection.execute(sa.delete(twin(table)).where(*conditions)).rowcount


def find(connection: sa.Connection, table: Table, key: str) -> Mapping[str, Any] | None:
    """The row with a key; None if there is none."""
    kept = twin(table)
    row = connection.execute(sa.select(kept).where(kept.c[table.key[0]] == key)).mappings().first()
    return None if row is None else dict(row)


def select(connection: sa.Connection, table: Table, *conditions: sa.ColumnElement[bool]) -> list[dict[str, Any]]:
    """The rows that meet all conditions, in order of the key."""
    kept = twin(table)
    rows = connection.execute(sa.select(kept).where(*conditions).order_by(kept.c[table.key[0]])).mappings()
    return [dict(row) for row in rows]
