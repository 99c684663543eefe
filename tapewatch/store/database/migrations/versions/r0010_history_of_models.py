"""The history of the models' versions."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Forwards."""
    op.create_table(
        "model_history",
        sa.Column("market", sa.Text(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("at_time", sa.DateTime(timezone=True), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("model", "action")),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("champion_before", sa.BigInteger(), nullable=True),
        *(
            sa.Column(name, sa.Text(), nullable=False)
            for name in ("run_id", "actor", "reason", "evidence", "previous_hash", "hash")
        ),
        sa.PrimaryKeyConstraint("market", "number", name="pk_model_history"),
    )
    with op.batch_alter_table("model_history", schema=None) as batch_op:
        batch_op.create_index("ix_model_history_at_time", ["at_time"], unique=False)
        batch_op.create_index("ix_model_history_partition", ["market", "date"], unique=False)


def downgrade() -> None:
    """Backwards."""
    with op.batch_alter_table("model_history", schema=None) as batch_op:
        batch_op.drop_index("ix_model_history_partition")
        batch_op.drop_index("ix_model_history_at_time")

    op.drop_table("model_history")
