"""What traders of paper accounts decided, and when an alert was raised on the tape's clock."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Forwards."""
    op.create_table(
        "paper_signals",
        sa.Column("market", sa.Text(), nullable=False, comment="market of the partition"),
        sa.Column("date", sa.Date(), nullable=False, comment="date of the partition"),
        sa.Column("account", sa.Text(), nullable=False, comment="name of the paper account"),
        sa.Column(
            "symbol",
            sa.Text(),
            nullable=False,
            comment="instrument, spelt as in the vendor's flat files (AAPL, X:BTC-USD)",
        ),
        sa.Column("event_time", sa.DateTime(timezone=True), nullable=False, comment="start of what the signal follows"),
        sa.Column(
            "known_time",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="when the signal was decided: no row known later entered it",
        ),
        sa.Column("strategy", sa.Text(), nullable=False, comment="what proposes the bet"),
        sa.Column(
            "partner",
            sa.Text(),
            nullable=False,
            comment="the other leg of a pair, or the leader; empty where there is none",
        ),
        sa.Column(
            "kind",
            sa.Text(),
            nullable=False,
            comment="kind of the anomaly as far as it was known then; the strategy's name without an alert",
        ),
        sa.Column(
            "detector",
            sa.Text(),
            nullable=False,
            comment="whose alert it follows: `isolation_forest`, `scan`, both joined by `+`, or empty",
        ),
        sa.Column("side", sa.SmallInteger(), nullable=False, comment="1 buy, -1 sell"),
        sa.Column(
            "horizon_minutes",
            sa.Integer(),
            nullable=False,
            comment="the bet is closed after so long at the latest [min]",
        ),
        sa.Column(
            "regime",
            sa.Text(),
            nullable=False,
            comment="`calm`, `usual`, `volatile` or `thin` (wide spreads), by the last minute",
        ),
        sa.Column(
            "price",
            sa.Double(),
            nullable=True,
            comment="midquote when it was decided, or the last price without quotes [quote currency]",
        ),
        sa.Column(
            "spread_bps",
            sa.Double(),
            nullable=True,
            comment="quoted spread of the last minute; Roll's where there are no quotes [bps]",
        ),
        sa.Column(
            "volatility_bps",
            sa.Double(),
            nullable=True,
            comment="root mean square return of a minute, of the half hour before [bps]",
        ),
        sa.Column("target_bps", sa.Double(), nullable=True, comment="distance of the bet's barriers [bps]"),
        sa.Column(
            "cost_bps",
            sa.Double(),
            nullable=True,
            comment="expected cost of opening and closing: spread, fees and impact [bps]",
        ),
        sa.Column(
            "exit_minutes",
            sa.Double(),
            nullable=True,
            comment="time to close the largest position at the participation cap; null without volume [min]",
        ),
        sa.Column("is_tradable", sa.Boolean(), nullable=False, comment="the risk assessment lets it pass"),
        sa.Column("reason", sa.Text(), nullable=False, comment="why it does not; empty where it does"),
        sa.Column(
            "bets_before",
            sa.BigInteger(),
            nullable=False,
            comment="earlier bets of the strategy on which the confidence stands",
        ),
        sa.Column(
            "confidence",
            sa.Double(),
            nullable=False,
            comment="probability that the bet wins after costs, from earlier bets",
        ),
        sa.Column(
            "size",
            sa.Double(),
            nullable=False,
            comment="signed share of the largest position; 0 without an edge over the costs",
        ),
        sa.Column(
            "limit_price",
            sa.Double(),
            nullable=True,
            comment="the worst price at which the size still pays; null for a size of 0 [quote currency]",
        ),
        sa.PrimaryKeyConstraint(
            "market", "account", "symbol", "known_time", "strategy", "partner", name="pk_paper_signals"
        ),
        comment="Signals on which traders of paper accounts decided, as they were then.",
    )
    with op.batch_alter_table("paper_signals", schema=None) as batch_op:
        batch_op.create_index("ix_paper_signals_event_time", ["event_time"], unique=False)
        batch_op.create_index("ix_paper_signals_partition", ["market", "date"], unique=False)

    op.create_table(
        "paper_traders",
        sa.Column("market", sa.Text(), nullable=False, comment="market of the partition"),
        sa.Column("date", sa.Date(), nullable=False, comment="date of the partition"),
        sa.Column("account", sa.Text(), nullable=False, comment="name of the paper account"),
        sa.Column("created_time", sa.DateTime(timezone=True), nullable=False, comment="when it began"),
        sa.Column(
            "beat_time",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="when it wrote this row, by this machine's clock",
        ),
        sa.Column("settings", sa.Text(), nullable=False, comment="digest of its rules, which must not change"),
        sa.Column("cursor_ns", sa.BigInteger(), nullable=False, comment="it decided on every minute up to here [ns]"),
        sa.Column("decisions", sa.BigInteger(), nullable=False, comment="signals decided on so far"),
        sa.PrimaryKeyConstraint("market", "account", name="pk_paper_traders"),
        comment="How far the trader of each paper account has followed alerts and bars.",
    )
    with op.batch_alter_table("paper_traders", schema=None) as batch_op:
        batch_op.create_index("ix_paper_traders_created_time", ["created_time"], unique=False)
        batch_op.create_index("ix_paper_traders_partition", ["market", "date"], unique=False)

    with op.batch_alter_table("alerts", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "known_time",
                sa.DateTime(timezone=True),
                nullable=True,
                comment="when it was raised, on the tape's clock; null for alerts from before this column",
            )
        )


def downgrade() -> None:
    """Backwards."""
    with op.batch_alter_table("alerts", schema=None) as batch_op:
        batch_op.drop_column("known_time")

    with op.batch_alter_table("paper_traders", schema=None) as batch_op:
        batch_op.drop_index("ix_paper_traders_partition")
        batch_op.drop_index("ix_paper_traders_created_time")

    op.drop_table("paper_traders")
    with op.batch_alter_table("paper_signals", schema=None) as batch_op:
        batch_op.drop_index("ix_paper_signals_partition")
        batch_op.drop_index("ix_paper_signals_event_time")

    op.drop_table("paper_signals")
