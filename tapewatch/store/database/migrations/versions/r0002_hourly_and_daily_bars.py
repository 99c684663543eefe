"""Hourly and daily bars by the database; hypertables where TimescaleDB is installed."""

from alembic import op

from tapewatch.store.database.upkeep.rollups import arrange, drop_views

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Forwards."""
    arrange(op.get_bind())


def downgrade() -> None:
    """Backwards; a hypertable stays one, with the same rows."""
    drop_views(op.get_bind())
