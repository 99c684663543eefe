"""Hourly and daily bars get `vwap_volume`, by which a day's vwap is weighed.

On TimescaleDB the hours are made again from the minutes that are kept; older ones go.
"""

from alembic import op

from tapewatch.store.database.upkeep.rollups import arrange, drop_views

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Forwards."""
    drop_views(op.get_bind())
    arrange(op.get_bind())


def downgrade() -> None:
    """Backwards: the views of before held a column less, so nothing depends on the present ones."""
