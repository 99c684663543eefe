"""Moves all tables from one database to another and compares every row before it commits."""

from tapewatch.store.database.database import Database
from tapewatch.store.database.engine import transaction
from tapewatch.store.database.tables import SQL_TABLES
from tapewatch.store.database.upkeep import copying, rollups
from tapewatch.store.database.upkeep.copying import Listener, no_listener


def move(
    source: Database, target: Database, copied: Listener = no_listener, compared: Listener = no_listener
) -> dict[str, int]:
    """Copy every table into an empty database of either kind, in one transaction that ends with a comparison of all rows.

    The source is not changed. Writers to a SQLite source wait; a PostgreSQL source is read as of one moment. A failure, or a
    row that differs, leaves the target empty.

    Returns: rows by table.

    Raises:
        DatabaseError: the target is not empty, one of them refuses, or a row differs.
    """
    is_sqlite = source.engine.dialect.name == "sqlite"
    reading = transaction(source.engine) if is_sqlite else copying.snapshot(source.engine)
    with reading as old, transaction(target.engine) as new:
        copying.refuse_unless_empty(
            new, "A move needs an empty target: name a fresh database, or restore a backup with --replace"
        )
        for table in SQL_TABLES:
            rows, done = copying.count(old, table), 0
            for batch in copying.batches(old, table):
                copying.write(new, table, batch)
                done += batch.height
                copied(table.name, done, rows)
        moved = {table.name: copying.compare(old, new, table, compared) for table in SQL_TABLES}
    rollups.refresh(target.engine, everything=True)
    return moved
