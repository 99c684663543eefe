"""How people want the dashboard."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Forwards."""
    op.create_table(
        "user_preferences",
        sa.Column("market", sa.Text(), nullable=False, comment="market of the partition"),
        sa.Column("date", sa.Date(), nullable=False, comment="date of the partition"),
        sa.Column("user_name", sa.Text(), nullable=False, comment="whose it is"),
        sa.Column("theme", sa.Text(), nullable=False, comment="`system`, `light` or `dark`"),
        sa.Column("is_muted", sa.Boolean(), nullable=False, comment="whether new alerts make no sound"),
        sa.Column("created_time", sa.DateTime(timezone=True), nullable=False, comment="when the person last chose"),
        sa.PrimaryKeyConstraint("market", "user_name", name="pk_user_preferences"),
        comment="How people want the dashboard.",
    )
    with op.batch_alter_table("user_preferences", schema=None) as batch_op:
        batch_op.create_index("ix_user_preferences_created_time", ["created_time"], unique=False)
        batch_op.create_index("ix_user_preferences_partition", ["market", "date"], unique=False)


def downgrade() -> None:
    """Backwards."""
    with op.batch_alter_table("user_preferences", schema=None) as batch_op:
        batch_op.drop_index("ix_user_preferences_partition")
        batch_op.drop_index("ix_user_preferences_created_time")

    op.drop_table("user_preferences")
