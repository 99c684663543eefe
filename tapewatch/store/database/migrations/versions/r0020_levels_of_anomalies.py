"""How rare an anomaly is on ordinary tape."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    """Forwards."""
    op.add_column("anomalies", sa.Column("hours", sa.Double(), nullable=True))


def downgrade() -> None:
    """Backwards."""
    op.drop_column("anomalies", "hours")
