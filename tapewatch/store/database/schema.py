"""Upgrades a database to this code's schema.

The table `tapewatch_version` holds the revision; Dagster and MLflow may keep theirs in the same database. An older database
is upgraded in one transaction while other processes wait; a newer one is refused.
"""

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from tapewatch.store.database.engine import DatabaseError, transaction
from tapewatch.store.database.migrations import HEAD, REVISIONS
from tapewatch.store.database.tables import UtcDateTime, metadata
from tapewatch.store.database.upkeep.rollups import arrange

if TYPE_CHECKING:
    from alembic.config import Config

VERSION_TABLE = "tapewatch_version"
#: Any constant: it serialises the upgrades of processes that start together on PostgreSQL.
_SCHEMA_LOCK = 0x7A9E


def _is_ours(name: str | None, kind: str, parents: dict[str, str | None]) -> bool:
    table = name if kind == "table" else parents.get("table_name")
    return table is None or table in metadata.tables


def _spelling(kind: str, item: object, _: object) -> str | bool:
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UtcDateTime) else False


#: What Alembic compares: our tables only, with types, without comments (each upgrade sets them from the definitions).
COMPARISON: dict[str, Any] = {
    "compare_type": True,
    "include_name": _is_ours,
    "render_item": _spelling,
    "render_as_batch": True,
    "autogenerate_plugins": ["alembic.autogenerate.*", "~alembic.autogenerate.comments"],
}


def ensure_current(engine: Engine) -> None:
    """Upgrade the schema if it is older.

    Raises:
        DatabaseError: it cannot be reached, or was upgraded by a newer Tapewatch.
    """
    with transaction(engine, reads_only=True) as connection:
        if is_current(connection):
            return
    upgrade(engine)


def upgrade(engine: Engine) -> tuple[str | None, str]:
    """Upgrade the schema, and use TimescaleDB if it was installed since; twice equals once.

    Returns: the revision before (None if there was none) and after.

    Raises:
        DatabaseError: as `ensure_current`; nothing was changed.
    """
    with transaction(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_SCHEMA_LOCK)))
        before = revision_of(connection)
        if not is_current(connection):
            _run_revisions(connection)
        arrange(connection)
    return before, HEAD


def revision_of(connection: Connection) -> str | None:
    """The database's revision; None if it has none yet."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    version = sa.table(VERSION_TABLE, sa.column("version_num", sa.Text()))
    return connection.scalar(sa.select(version.c.version_num))


def is_current(connection: Connection) -> bool:
    """Whether the schema is this version's. Raises a DatabaseError if a newer Tapewatch upgraded it."""
    revision = revision_of(connection)
    if revision is not None and revision not in REVISIONS:
        address = connection.engine.url.render_as_string(hide_password=True)
        raise DatabaseError(
            f"database {address} is at revision {revision}, newer than this Tapewatch's {HEAD}: a newer "
            "Tapewatch upgraded it. Update Tapewatch, or point TAPEWATCH_DATABASE_URL at another database"
        )
    return revision == HEAD


def _run_revisions(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 - needed for an upgrade only

    command.upgrade(alembic_config(connection), "head")
    if connection.dialect.supports_comments:
        for table in metadata.sorted_tables:
            connection.execute(sa.schema.SetTableComment(table))
            for column in table.columns:
                connection.execute(sa.schema.SetColumnComment(column))


def alembic_config(connection: Connection) -> "Config":
    """Alembic's settings; the revisions are in this package."""
    from alembic.config import Config  # noqa: PLC0415

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", "tapewatch.store.database:migrations")
    config.set_main_option("path_separator", "os")
    config.set_main_option("file_template", "r%%(rev)s_%%(slug)s")
    return config
