"""People's verdicts on alerts."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Forwards."""
    op.create_table(
        "alert_verdicts",
        sa.Column("market", sa.Text(), nullable=False, comment="market of the partition"),
        sa.Column("date", sa.Date(), nullable=False, comment="date of the partition"),
        sa.Column(
            "alert_id", sa.Text(), nullable=False, comment="the alert, or the incident as `incident_id` names it"
        ),
        sa.Column("symbol", sa.Text(), nullable=False, comment="instrument; empty for the whole feed"),
        sa.Column("author", sa.Text(), nullable=False, comment="who says so"),
        sa.Column("verdict", sa.Text(), nullable=False, comment="`confirmed` or `dismissed`"),
        sa.Column("note", sa.Text(), nullable=True, comment="what the person adds"),
        sa.Column("created_time", sa.DateTime(timezone=True), nullable=False, comment="when it was said"),
        sa.PrimaryKeyConstraint("market", "alert_id", "author", name="pk_alert_verdicts"),
        comment="What people say of alerts and incidents: the newest verdict of each author.",
    )
    with op.batch_alter_table("alert_verdicts", schema=None) as batch_op:
        batch_op.create_index("ix_alert_verdicts_created_time", ["created_time"], unique=False)
        batch_op.create_index("ix_alert_verdicts_partition", ["market", "date"], unique=False)


def downgrade() -> None:
    """Backwards."""
    with op.batch_alter_table("alert_verdicts", schema=None) as batch_op:
        batch_op.drop_index("ix_alert_verdicts_partition")
        batch_op.drop_index("ix_alert_verdicts_created_time")

    op.drop_table("alert_verdicts")
