"""Why a day is not complete, in its certificate."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Forwards."""
    with op.batch_alter_table("coverage", schema=None) as batch_op:
        batch_op.add_column(sa.Column("reason", sa.Text(), nullable=True, comment="why the day is not complete"))


def downgrade() -> None:
    """Backwards."""
    with op.batch_alter_table("coverage", schema=None) as batch_op:
        batch_op.drop_column("reason")
