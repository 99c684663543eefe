"""Minutes in a few numbers."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Forwards."""
    op.create_table(
        "market_microstructure",
        sa.Column("market", sa.Text(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("event_time", sa.DateTime(timezone=True), nullable=False),
        *(sa.Column(name, sa.Double(), nullable=False) for name in ("buy_volume", "sell_volume")),
        *(
            sa.Column(name, sa.Double(), nullable=True)
            for name in (
                "order_imbalance",
                "spread_bps",
                "volatility_bps",
                "rsi_14",
                "macd_bps",
                "bollinger_position",
                "anomaly_score",
            )
        ),
        sa.Column("model", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("market", "symbol", "event_time", name="pk_market_microstructure"),
    )
    with op.batch_alter_table("market_microstructure", schema=None) as batch_op:
        batch_op.create_index(
            "ix_market_microstructure_event_time",
            ["event_time"],
            unique=False,
            postgresql_using="brin",
            postgresql_with={"autosummarize": "on"},
        )


def downgrade() -> None:
    """Backwards."""
    with op.batch_alter_table("market_microstructure", schema=None) as batch_op:
        batch_op.drop_index("ix_market_microstructure_event_time")

    op.drop_table("market_microstructure")
