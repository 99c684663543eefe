"""Live rows of the further features: microstructure, indicators, correlations, and minutes against the usual one."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"

_MEASURES = {
    "microstructure_more": """
    signed_volume signed_count aggressor_ratio imbalance_1m imbalance_3m imbalance_5m imbalance_8m imbalance_15m
    imbalance_25m ofi_depth_1m ofi_depth_5m ofi_depth_15m sign_autocorrelation trade_size_median trade_size_p90
    largest_trade_share bulk_imbalance bulk_imbalance_15m quoted_spread_5m_bps effective_spread_5m_bps
    realised_spread_5m_bps price_impact_bps price_impact_5m_bps spread_volatility_bps depth depth_ratio micro_price
    micro_price_bps corwin_schultz_bps abdi_ranaldo_bps hasbrouck_lambda quote_to_trade_5m size_quote_share
    size_flicker liquidity_score realised_volatility_30m_bps bipower_volatility_30m_bps jump_share parkinson_bps
    garman_klass_bps rogers_satchell_bps yang_zhang_bps ewma_volatility_bps variance_ratio_5m drawdown_score
    recovery_score
    """,
    "indicators": """
    return_5m_bps return_15m_bps return_30m_bps return_60m_bps rsi_14 macd_bps macd_signal_bps macd_histogram_bps
    bollinger_position bollinger_width_bps atr_14_bps obv vwap_distance_bps stochastic_k stochastic_d plus_di_14
    minus_di_14 adx_14 fractional_difference shannon_entropy lempel_ziv_complexity kontoyiannis_entropy cusum_break
    sadf
    """,
    "correlations": """
    correlation_30m correlation_60m
    """,
    "seasonality": """
    usual_volume usual_trade_count usual_quote_count usual_quoted_spread_bps usual_realised_volatility_bps
    usual_range_bps usual_return_bps usual_net_volume volume_deviation trade_count_deviation quote_count_deviation
    quoted_spread_bps_deviation realised_volatility_bps_deviation range_bps_deviation return_bps_deviation
    net_volume_deviation buy_volume_deviation sell_volume_deviation buy_count_deviation sell_count_deviation
    order_flow_imbalance_deviation flow_score_3m_deviation flow_score_5m_deviation trade_age_s_deviation
    effective_spread_bps_deviation realised_spread_bps_deviation depth_imbalance_deviation best_level_ofi_deviation
    quote_age_s_deviation tape_age_s_deviation signed_count_deviation aggressor_ratio_deviation
    imbalance_1m_deviation imbalance_3m_deviation imbalance_5m_deviation imbalance_8m_deviation
    imbalance_15m_deviation ofi_depth_1m_deviation ofi_depth_5m_deviation ofi_depth_15m_deviation
    trade_size_median_deviation trade_size_p90_deviation largest_trade_share_deviation quoted_spread_5m_bps_deviation
    effective_spread_5m_bps_deviation realised_spread_5m_bps_deviation price_impact_bps_deviation
    price_impact_5m_bps_deviation spread_volatility_bps_deviation depth_deviation micro_price_bps_deviation
    quote_to_trade_5m_deviation size_quote_share_deviation size_flicker_deviation
    """,
}
#: Columns of the key besides the symbol and its time, and others than measures.
_NAMES = {"correlations": ("other",)}
_COUNTS = {"seasonality": ("days",)}


def upgrade() -> None:
    """Forwards."""
    for table, measures in _MEASURES.items():
        names = ("symbol", *_NAMES.get(table, ()))
        op.create_table(
            table,
            sa.Column("market", sa.Text(), nullable=False),
            sa.Column("date", sa.Date(), nullable=False),
            *(sa.Column(name, sa.Text(), nullable=False) for name in names),
            sa.Column("event_time", sa.DateTime(timezone=True), nullable=False),
            sa.Column("known_time", sa.DateTime(timezone=True), nullable=False),
            *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _COUNTS.get(table, ())),
            *(sa.Column(name, sa.Double(), nullable=True) for name in measures.split()),
            sa.PrimaryKeyConstraint("market", *names, "event_time", name=f"pk_{table}"),
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
    for table in _MEASURES:
        op.drop_index(f"ix_{table}_event_time", table)
        op.drop_table(table)
