"""Bringing a database to the schema of this code, once, whoever comes first.

A database says its revision in `tapewatch_version` (Dagster and MLflow may keep theirs beside it). One that is current
costs a query or two; one that is behind is upgraded in a single transaction while other processes wait; one that is ahead
is refused.
"""

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from tapewatch.store.database.engine import DatabaseError, transaction
from tapewatch.store.database.migrations import HEAD, REVISIONS
from tapewatch.store.database.rollups import arrange
from tapewatch.store.database.tables import UtcDateTime, metadata

if TYPE_CHECKING:
    from alembic.config import Config

VERSION_TABLE = "tapewatch_version"
#: Any constant will do: it serialises upgrades by processes that start together on PostgreSQL.
_SCHEMA_LOCK = 0x7A9E


def _is_ours(name: str | None, kind: str, parents: dict[str, str | None]) -> bool:
    table = name if kind == "table" else parents.get("table_name")
    return table is None or table in metadata.tables


def _spelling(kind: str, item: object, _: object) -> str | bool:
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UtcDateTime) else False


#: How Alembic compares: our tables only, types too, comments not (they are set from the definitions after each upgrade).
COMPARISON: dict[str, Any] = {
    "compare_type": True,
    "include_name": _is_ours,
    "render_item": _spelling,
    "render_as_batch": True,
    "autogenerate_plugins": ["alembic.autogenerate.*", "~alembic.autogenerate.comments"],
}


def ensure_current(engine: Engine) -> None:
    """Upgrade the schema if it is behind; nothing where it is current.

    Raises:
        DatabaseError: it cannot be reached, or was upgraded by a newer Tapewatch.
    """
    with transaction(engine, reads_only=True) as connection:
        if _is_current(connection):
            return
    upgrade(engine)


def upgrade(engine: Engine) -> tuple[str | None, str]:
    """Upgrade the schema and turn over to TimescaleDB what was made before it was installed; twice equals once.

    Returns: the revision before, None where there was none, and after.

    Raises:
        DatabaseError: as `ensure_current`; nothing was changed.
    """
    with transaction(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_SCHEMA_LOCK)))
        before = revision_of(connection)
        if not _is_current(connection):
            _run_revisions(connection)
        arrange(connection)
    return before, HEAD


def revision_of(connection: Connection) -> str | None:
    """The database's revision; None where it has none yet."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    version = sa.table(VERSION_TABLE, sa.column("version_num", sa.Text()))
    return connection.scalar(sa.select(version.c.version_num))


def _is_current(connection: Connection) -> bool:
    revision = revision_of(connection)
    if revision is not None and revision not in REVISIONS:
        address = connection.engine.url.render_as_string(hide_password=True)
        raise DatabaseError(
            f"database {address} is at revision {revision}, and this Tapewatch knows no later one than {HEAD}: a newer "
            "Tapewatch upgraded it. Update Tapewatch, or point TAPEWATCH_DATABASE_URL at another database"
        )
    return revision == HEAD


def _run_revisions(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 - a database that is current does without

    command.upgrade(alembic_config(connection), "head")
    if connection.dialect.supports_comments:
        for table in metadata.sorted_tables:
            connection.execute(sa.schema.SetTableComment(table))
            for column in table.columns:
                connection.execute(sa.schema.SetColumnComment(column))


def alembic_config(connection: Connection) -> "Config":
    """Alembic's settings, with no file of them: the revisions lie in this package."""
    from alembic.config import Config  # noqa: PLC0415

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", "tapewatch.store.database:migrations")
    config.set_main_option("path_separator", "os")
    config.set_main_option("file_template", "r%%(rev)s_%%(slug)s")
    return config
