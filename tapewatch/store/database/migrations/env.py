"""Alembic's entry point: runs the revisions on the given connection, in its transaction."""

from alembic import context

from tapewatch.store.database.schema import COMPARISON, VERSION_TABLE
from tapewatch.store.database.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=True,
    **COMPARISON,
)
with context.begin_transaction():
    context.run_migrations()
