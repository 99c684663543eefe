"""Live bars of other clocks than time, and a beta of five minutes."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"

_AMOUNTS = ("open", "high", "low", "close", "volume", "vwap", "transactions", "buy_volume", "sell_volume", "threshold")


def upgrade() -> None:
    """Forwards."""
    op.add_column("cross_asset", sa.Column("beta_5m", sa.Double(), nullable=True))
    op.create_table(
        "information_bars",
        sa.Column("market", sa.Text(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("clock", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        *(sa.Column(f"{name}_time", sa.DateTime(timezone=True), nullable=False) for name in ("start", "end", "known")),
        *(
            sa.Column(
                name,
                sa.BigInteger() if name == "transactions" else sa.Double(),
                nullable=name in ("vwap", "transactions"),
            )
            for name in _AMOUNTS
        ),
        sa.PrimaryKeyConstraint("market", "symbol", "clock", "start_time", "number", name="pk_information_bars"),
    )
    op.create_index(
        "ix_information_bars_start_time",
        "information_bars",
        ["start_time"],
        postgresql_using="brin",
        postgresql_with={"autosummarize": "on"},
    )


def downgrade() -> None:
    """Backwards."""
    op.drop_index("ix_information_bars_start_time", "information_bars")
    op.drop_table("information_bars")
    op.drop_column("cross_asset", "beta_5m")
