"""Makes the PostgreSQL databases of a deployment: one for each part, since their tables clash."""

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.engine import URL

from tapewatch.store.database.engine import DatabaseError, connect, parse, transaction

#: What the name of a part's database has behind that of the operational one, and the variable that is to name it.
PARTS: Mapping[str, str] = {
    "": "TAPEWATCH_DATABASE_URL",
    "_dagster": "TAPEWATCH_DAGSTER_POSTGRES_URL",
    "_mlflow": "MLFLOW_TRACKING_URI",
}
_MAINTENANCE = "postgres"


def create_databases(url: str) -> dict[str, tuple[URL, bool]]:
    """Make the databases of all parts on one server; those that exist are left as they are.

    Args:
        url: that of the operational database, which need not exist; its user must have the right CREATEDB.

    Returns: by variable, the URL and whether the database was made.

    Raises:
        DatabaseError: it is no URL of PostgreSQL, the server cannot be reached, or the user may not create databases.
    """
    given = parse(url)
    if given.get_backend_name() != "postgresql" or not given.database:
        raise DatabaseError(
            f"database {given.render_as_string()}: write postgresql://USER@HOST/NAME; the others get its name and an ending"
        )
    engine = connect(given.set(database=_MAINTENANCE)).execution_options(isolation_level="AUTOCOMMIT")
    found: dict[str, tuple[URL, bool]] = {}
    try:
        for ending, variable in PARTS.items():
            name = f"{given.database}{ending}"
            with transaction(engine) as connection:
                exists = connection.scalar(sa.text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": name})
                if not exists:
                    quoted = name.replace('"', '""').replace(":", "\\:")
                    connection.execute(sa.text(f'CREATE DATABASE "{quoted}"'))
            found[variable] = given.set(database=name), not exists
    finally:
        engine.dispose()
    return found
