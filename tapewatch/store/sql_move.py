"""Moving everything from one database to another, checked row by row before it counts.

Belongs here: the order of things. Not here: reading and writing of batches (`sql_copy.py`).
"""

from tapewatch.store import sql_copy, sql_rollups
from tapewatch.store.database import Database
from tapewatch.store.sql_copy import Listener, nobody
from tapewatch.store.sql_engine import transaction
from tapewatch.store.sql_tables import SQL_TABLES


def move(source: Database, target: Database, copied: Listener = nobody, compared: Listener = nobody) -> dict[str, int]:
    """Copy every table into an empty database of either kind, in one transaction that ends with a comparison of all rows.

    The source is kept from writers meanwhile where it is SQLite (they wait), and read as of one moment where it is PostgreSQL.
    It is not changed. A failure, or a row that differs, leaves the target empty.

    Returns: rows by table.

    Raises:
        DatabaseError: the target is not empty, one of the two refuses, or a row differs.
    """
    is_sqlite = source.engine.dialect.name == "sqlite"
    reading = transaction(source.engine) if is_sqlite else sql_copy.snapshot(source.engine)
    with reading as old, transaction(target.engine) as new:
        sql_copy.refuse_unless_empty(
            new, "A move wants an empty target: name a fresh database, or restore a backup with --replace"
        )
        for table in SQL_TABLES:
            rows, done = sql_copy.count(old, table), 0
            for batch in sql_copy.batches(old, table):
                sql_copy.write(new, table, batch)
                done += batch.height
                copied(table.name, done, rows)
        moved = {table.name: sql_copy.compare(old, new, table, compared) for table in SQL_TABLES}
    sql_rollups.refresh(target.engine)
    return moved
