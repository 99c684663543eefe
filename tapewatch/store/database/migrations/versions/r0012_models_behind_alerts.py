"""Which model raised an alert and what kind it names, and the minutes of a challenger beside the champion."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Forwards."""
    op.create_table(
        "shadow_minutes",
        sa.Column("market", sa.Text(), nullable=False, comment="market of the partition"),
        sa.Column("date", sa.Date(), nullable=False, comment="date of the partition"),
        sa.Column(
            "challenger", sa.Text(), nullable=False, comment="registered model and version that scored in the shadow"
        ),
        sa.Column("champion", sa.Text(), nullable=False, comment="registered model and version whose alerts count"),
        sa.Column("event_time", sa.DateTime(timezone=True), nullable=False, comment="start of the minute"),
        sa.Column("symbols", sa.BigInteger(), nullable=False, comment="symbols that both scored"),
        sa.Column("by_champion", sa.Text(), nullable=False, comment="symbols that the champion flags, as a JSON list"),
        sa.Column(
            "by_challenger", sa.Text(), nullable=False, comment="symbols that the challenger flags, as a JSON list"
        ),
        sa.PrimaryKeyConstraint("market", "challenger", "champion", "event_time", name="pk_shadow_minutes"),
        comment="Live minutes that the challenger scored beside the champion; it raises no alerts.",
    )
    with op.batch_alter_table("shadow_minutes") as table:
        table.create_index("ix_shadow_minutes_event_time", ["event_time"], unique=False)
        table.create_index("ix_shadow_minutes_partition", ["market", "date"], unique=False)
    kind = "kind of anomaly as the first registered model names it; null for rules alone"
    model = "registered models and versions that raised it, such as `ensemble/4`; null for rules alone"
    with op.batch_alter_table("alerts") as table:
        table.add_column(sa.Column("kind", sa.Text(), nullable=True, comment=kind))
        table.add_column(sa.Column("model", sa.Text(), nullable=True, comment=model))


def downgrade() -> None:
    """Backwards."""
    with op.batch_alter_table("alerts") as table:
        table.drop_column("model")
        table.drop_column("kind")
    with op.batch_alter_table("shadow_minutes") as table:
        table.drop_index("ix_shadow_minutes_partition")
        table.drop_index("ix_shadow_minutes_event_time")
    op.drop_table("shadow_minutes")
