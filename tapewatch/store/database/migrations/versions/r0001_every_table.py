"""Every table of the operational database. A database of before the revisions keeps its anomalies."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
_TIME = sa.DateTime(timezone=True)
_TABLES = (
    "anomalies",
    "coverage",
    "bars",
    "microstructure",
    "alerts",
    "gaps",
    "labels",
    "audit",
    "quarantine",
)


def upgrade() -> None:
    """Forwards."""
    _anomalies()
    _coverage()
    _bars()
    _microstructure()
    _alerts()
    _gaps()
    _labels()
    _audit()
    _quarantine()


def downgrade() -> None:
    """Backwards, to an empty database."""
    for name in _TABLES:
        op.drop_table(name)


def _anomalies() -> None:
    op.create_table(
        "anomalies",
        sa.Column("market", sa.Text(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("start_time", _TIME, nullable=False),
        sa.Column("end_time", _TIME, nullable=False),
        sa.Column("known_time", _TIME, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("threshold", sa.Double(), nullable=False),
        sa.Column("minutes", sa.Integer(), nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("market", "symbol", "start_time", name="pk_anomalies"),
        if_not_exists=True,
    )
    op.create_index("ix_anomalies_partition", "anomalies", ["market", "date"], if_not_exists=True)
    op.create_index("ix_anomalies_start_time", "anomalies", ["start_time"], if_not_exists=True)


def _coverage() -> None:
    op.create_table(
        "coverage",
        sa.Column("market", sa.Text(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("trades", sa.BigInteger(), nullable=False),
        sa.Column("quotes", sa.BigInteger(), nullable=False),
        sa.Column("bars", sa.BigInteger(), nullable=False),
        sa.Column("expected_minutes", sa.BigInteger(), nullable=False),
        sa.Column("received_minutes", sa.BigInteger(), nullable=False),
        sa.Column("healed_minutes", sa.BigInteger(), nullable=False),
        sa.Column("silent_minutes", sa.BigInteger(), nullable=False),
        sa.Column("missing_minutes", sa.BigInteger(), nullable=False),
        sa.Column("longest_gap_minutes", sa.BigInteger(), nullable=False),
        sa.Column("open_gaps", sa.BigInteger(), nullable=False),
        sa.Column("is_complete", sa.Boolean(), nullable=False),
        sa.Column("first_time", _TIME),
        sa.Column("last_time", _TIME),
        sa.PrimaryKeyConstraint("market", "date", "symbol", name="pk_coverage"),
        if_not_exists=True,
    )
    op.create_index("ix_coverage_partition", "coverage", ["market", "date"], if_not_exists=True)


def _bars() -> None:
    op.create_table(
        "bars",
        sa.Column("market", sa.Text(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("clock", sa.Text(), nullable=False),
        sa.Column("time", _TIME, nullable=False),
        sa.Column("known_time", _TIME, nullable=False),
        sa.Column("open", sa.Double(), nullable=False),
        sa.Column("high", sa.Double(), nullable=False),
        sa.Column("low", sa.Double(), nullable=False),
        sa.Column("close", sa.Double(), nullable=False),
        sa.Column("volume", sa.Double(), nullable=False),
        sa.Column("vwap", sa.Double()),
        sa.Column("transactions", sa.BigInteger()),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("market", "symbol", "clock", "time", name="pk_bars"),
        if_not_exists=True,
    )
    op.create_index(
        "ix_bars_time",
        "bars",
        ["time"],
        if_not_exists=True,
        postgresql_using="brin",
        postgresql_with={"autosummarize": "on"},
    )


def _microstructure() -> None:
    op.create_table(
        "microstructure",
        sa.Column("market", sa.Text(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("event_time", _TIME, nullable=False),
        sa.Column("known_time", _TIME, nullable=False),
        sa.Column("is_regular", sa.Boolean(), nullable=False),
        sa.Column("session_minute", sa.Integer(), nullable=False),
        sa.Column("last_price", sa.Double()),
        sa.Column("mid_price", sa.Double()),
        sa.Column("volume", sa.Double(), nullable=False),
        sa.Column("notional", sa.Double(), nullable=False),
        sa.Column("trade_count", sa.BigInteger(), nullable=False),
        sa.Column("buy_volume", sa.Double(), nullable=False),
        sa.Column("sell_volume", sa.Double(), nullable=False),
        sa.Column("buy_count", sa.BigInteger(), nullable=False),
        sa.Column("sell_count", sa.BigInteger(), nullable=False),
        sa.Column("order_flow_imbalance", sa.Double()),
        sa.Column("return_bps", sa.Double()),
        sa.Column("range_bps", sa.Double()),
        sa.Column("realised_volatility_bps", sa.Double()),
        sa.Column("trailing_return_bps", sa.Double()),
        sa.Column("drawdown_bps", sa.Double()),
        sa.Column("roll_spread_bps", sa.Double()),
        sa.Column("amihud_illiquidity", sa.Double()),
        sa.Column("kyle_lambda", sa.Double()),
        sa.Column("vpin", sa.Double()),
        sa.Column("volume_ratio", sa.Double()),
        sa.Column("trade_count_ratio", sa.Double()),
        sa.Column("sustained_volume_2m", sa.Double()),
        sa.Column("sustained_volume_3m", sa.Double()),
        sa.Column("signed_volume_ratio", sa.Double()),
        sa.Column("flow_score_3m", sa.Double()),
        sa.Column("flow_score_5m", sa.Double()),
        sa.Column("return_score", sa.Double()),
        sa.Column("volatility_ratio", sa.Double()),
        sa.Column("trade_age_s", sa.Double(), nullable=False),
        sa.Column("quoted_spread_bps", sa.Double()),
        sa.Column("effective_spread_bps", sa.Double()),
        sa.Column("realised_spread_bps", sa.Double()),
        sa.Column("spread_ratio", sa.Double()),
        sa.Column("depth_imbalance", sa.Double()),
        sa.Column("best_level_ofi", sa.Double()),
        sa.Column("quote_count", sa.BigInteger()),
        sa.Column("quote_rate_hz", sa.Double()),
        sa.Column("quote_count_ratio", sa.Double()),
        sa.Column("crossed_share", sa.Double()),
        sa.Column("quote_age_s", sa.Double()),
        sa.Column("tape_age_s", sa.Double(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("market", "symbol", "event_time", name="pk_microstructure"),
        if_not_exists=True,
    )
    op.create_index(
        "ix_microstructure_event_time",
        "microstructure",
        ["event_time"],
        if_not_exists=True,
        postgresql_using="brin",
        postgresql_with={"autosummarize": "on"},
    )


def _alerts() -> None:
    op.create_table(
        "alerts",
        sa.Column("market", sa.Text(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("alert_id", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("start_time", _TIME, nullable=False),
        sa.Column("end_time", _TIME),
        sa.Column("detected_time", _TIME, nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("baseline", sa.Double(), nullable=False),
        sa.Column("multiple", sa.Double()),
        sa.Column("peak", sa.Double(), nullable=False),
        sa.Column("observations", sa.BigInteger(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("market", "alert_id", name="pk_alerts"),
        if_not_exists=True,
    )
    op.create_index(
        "ix_alerts_open",
        "alerts",
        ["market"],
        if_not_exists=True,
        postgresql_where=sa.text("end_time IS NULL"),
        sqlite_where=sa.text("end_time IS NULL"),
    )
    op.create_index("ix_alerts_partition", "alerts", ["market", "date"], if_not_exists=True)
    op.create_index("ix_alerts_start_time", "alerts", ["start_time"], if_not_exists=True)


def _gaps() -> None:
    op.create_table(
        "gaps",
        sa.Column("market", sa.Text(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("gap_id", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text()),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("start_time", _TIME, nullable=False),
        sa.Column("end_time", _TIME),
        sa.Column("opened_time", _TIME, nullable=False),
        sa.Column("healed_time", _TIME),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("healed_by", sa.Text()),
        sa.Column("rows_healed", sa.BigInteger()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.PrimaryKeyConstraint("market", "gap_id", name="pk_gaps"),
        if_not_exists=True,
    )
    op.create_index(
        "ix_gaps_open",
        "gaps",
        ["market"],
        if_not_exists=True,
        postgresql_where=sa.text("status IN ('growing', 'open')"),
        sqlite_where=sa.text("status IN ('growing', 'open')"),
    )
    op.create_index("ix_gaps_partition", "gaps", ["market", "date"], if_not_exists=True)
    op.create_index("ix_gaps_start_time", "gaps", ["start_time"], if_not_exists=True)


def _labels() -> None:
    op.create_table(
        "labels",
        sa.Column("market", sa.Text(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("label_id", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("start_time", _TIME, nullable=False),
        sa.Column("end_time", _TIME, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("is_anomaly", sa.Boolean(), nullable=False),
        sa.Column("note", sa.Text()),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("created_time", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("market", "label_id", name="pk_labels"),
        if_not_exists=True,
    )
    op.create_index("ix_labels_partition", "labels", ["market", "date"], if_not_exists=True)
    op.create_index("ix_labels_start_time", "labels", ["start_time"], if_not_exists=True)


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("market", sa.Text(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("entry_id", sa.Text(), nullable=False),
        sa.Column("at_time", _TIME, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text()),
        sa.PrimaryKeyConstraint("market", "entry_id", name="pk_audit"),
        if_not_exists=True,
    )
    op.create_index("ix_audit_at_time", "audit", ["at_time"], if_not_exists=True)
    op.create_index("ix_audit_partition", "audit", ["market", "date"], if_not_exists=True)


def _quarantine() -> None:
    op.create_table(
        "quarantine",
        sa.Column("market", sa.Text(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("entry_id", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("received_time", _TIME, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("raw", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("market", "entry_id", name="pk_quarantine"),
        if_not_exists=True,
    )
    op.create_index("ix_quarantine_partition", "quarantine", ["market", "date"], if_not_exists=True)
    op.create_index("ix_quarantine_received_time", "quarantine", ["received_time"], if_not_exists=True)
