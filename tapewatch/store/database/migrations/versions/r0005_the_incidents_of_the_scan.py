"""The incidents of the scan."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Forwards."""
    op.create_table(
        "incidents",
        sa.Column("market", sa.Text(), nullable=False, comment="market of the partition"),
        sa.Column("date", sa.Date(), nullable=False, comment="date of the partition"),
        sa.Column(
            "symbol",
            sa.Text(),
            nullable=False,
            comment="instrument, spelt as in the vendor's flat files (AAPL, X:BTC-USD)",
        ),
        sa.Column(
            "start_time", sa.DateTime(timezone=True), nullable=False, comment="start of the first surprising bin"
        ),
        sa.Column("end_time", sa.DateTime(timezone=True), nullable=False, comment="end of the last surprising bin"),
        sa.Column(
            "known_time",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="end of the first surprising bin, when the alert could be known",
        ),
        sa.Column("kind", sa.Text(), nullable=False, comment="kind of anomaly at the peak"),
        sa.Column(
            "surprise",
            sa.Double(),
            nullable=False,
            comment="-log10 of how often ordinary tape of a symbol has as high a peak of a kind in 390 minutes",
        ),
        sa.Column(
            "hours",
            sa.Double(),
            nullable=False,
            comment="once in how many hours ordinary tape of a symbol raises such an alert; 10,000 stands for more [h]",
        ),
        sa.Column(
            "reasons",
            sa.Text(),
            nullable=False,
            comment="JSON list of {kind, statistic, value, words}, most surprising first",
        ),
        sa.Column("model", sa.Text(), nullable=False, comment="registered model and version that scored"),
        sa.PrimaryKeyConstraint("market", "symbol", "start_time", name="pk_incidents"),
        comment="What happened to a symbol at a time, found by the scan of five-second bins: one row for all kinds within ten minutes.",
    )
    with op.batch_alter_table("incidents", schema=None) as batch_op:
        batch_op.create_index("ix_incidents_partition", ["market", "date"], unique=False)
        batch_op.create_index("ix_incidents_start_time", ["start_time"], unique=False)


def downgrade() -> None:
    """Backwards."""
    with op.batch_alter_table("incidents", schema=None) as batch_op:
        batch_op.drop_index("ix_incidents_start_time")
        batch_op.drop_index("ix_incidents_partition")
    op.drop_table("incidents")
