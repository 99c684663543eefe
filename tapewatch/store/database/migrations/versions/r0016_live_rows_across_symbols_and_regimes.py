"""Live rows of a symbol among the others of its market, and of its regimes."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"

_TABLES = {
    "cross_asset": {
        **dict.fromkeys(
            (
                "market_return_bps",
                "market_correlation_30m",
                "correlation_break",
                "lead_lag_30m",
                "beta_15m",
                "beta_30m",
                "residual_5m_bps",
                "residual_15m_bps",
                "residual_30m_bps",
                "pca_residual_score",
            ),
            sa.Double(),
        ),
        "pair": sa.Text(),
        "pair_statistic": sa.Double(),
        "pair_spread_score": sa.Double(),
    },
    "regimes": {
        "volatility_bps": sa.Double(),
        "regime": sa.Text(),
        "probability_calm": sa.Double(),
        "probability_normal": sa.Double(),
        "probability_turbulent": sa.Double(),
        "volatility_level": sa.Text(),
        "trend_score": sa.Double(),
        "direction": sa.Text(),
    },
}


def upgrade() -> None:
    """Forwards."""
    for table, columns in _TABLES.items():
        op.create_table(
            table,
            sa.Column("market", sa.Text(), nullable=False),
            sa.Column("date", sa.Date(), nullable=False),
            sa.Column("symbol", sa.Text(), nullable=False),
            sa.Column("event_time", sa.DateTime(timezone=True), nullable=False),
            sa.Column("known_time", sa.DateTime(timezone=True), nullable=False),
            *(sa.Column(name, type_, nullable=True) for name, type_ in columns.items()),
            sa.PrimaryKeyConstraint("market", "symbol", "event_time", name=f"pk_{table}"),
        )
        op.create_index(
            f"ix_{table}_event_time",
            table,
            ["event_time"],
            postgresql_using="brin",
            postgresql_with={"autosummarize": "on"},
        )


def downgrade() -> None:
    """Backwards."""
    for table in _TABLES:
        op.drop_index(f"ix_{table}_event_time", table)
        op.drop_table(table)
