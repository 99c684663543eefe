"""Labels get `confidence`; those that people gave before are certain."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Forwards."""
    with op.batch_alter_table("labels") as table:
        table.add_column(sa.Column("confidence", sa.Double(), nullable=False, server_default="1"))
    with op.batch_alter_table("labels") as table:
        table.alter_column("confidence", server_default=None)


def downgrade() -> None:
    """Backwards."""
    with op.batch_alter_table("labels") as table:
        table.drop_column("confidence")
