"""Every table of the operational database. A database of before the revisions keeps its anomalies."""

from typing import Any, Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

revision = "0001"
down_revision = None
_TYPES: Final[dict[str, TypeEngine[Any]]] = {
    "text": sa.Text(),
    "time": sa.DateTime(timezone=True),
    "float": sa.Double(),
    "int": sa.Integer(),
    "bigint": sa.BigInteger(),
    "bool": sa.Boolean(),
}
#: By table: the columns after `market` and `date` as name:type, a question mark where null is allowed.
_COLUMNS = {
    "anomalies": """
        symbol:text start_time:time end_time:time known_time:time kind:text score:float threshold:float minutes:int
        reasons:text model:text
    """,
    "coverage": """
        symbol:text trades:bigint quotes:bigint bars:bigint expected_minutes:bigint received_minutes:bigint
        healed_minutes:bigint silent_minutes:bigint missing_minutes:bigint longest_gap_minutes:bigint
        open_gaps:bigint is_complete:bool first_time:time? last_time:time?
    """,
    "bars": """
        symbol:text clock:text time:time known_time:time open:float high:float low:float close:float volume:float
        vwap:float? transactions:bigint? source:text revision:int
    """,
    "microstructure": """
        symbol:text event_time:time known_time:time is_regular:bool session_minute:int last_price:float?
        mid_price:float? volume:float notional:float trade_count:bigint buy_volume:float sell_volume:float
        buy_count:bigint sell_count:bigint order_flow_imbalance:float? return_bps:float? range_bps:float?
        realised_volatility_bps:float? trailing_return_bps:float? drawdown_bps:float? roll_spread_bps:float?
        amihud_illiquidity:float? kyle_lambda:float? vpin:float? volume_ratio:float? trade_count_ratio:float?
        sustained_volume_2m:float? sustained_volume_3m:float? signed_volume_ratio:float? flow_score_3m:float?
        flow_score_5m:float? return_score:float? volatility_ratio:float? trade_age_s:float quoted_spread_bps:float?
        effective_spread_bps:float? realised_spread_bps:float? spread_ratio:float? depth_imbalance:float?
        best_level_ofi:float? quote_count:bigint? quote_rate_hz:float? quote_count_ratio:float? crossed_share:float?
        quote_age_s:float? tape_age_s:float revision:int
    """,
    "alerts": """
        alert_id:text symbol:text rule:text severity:text start_time:time end_time:time? detected_time:time
        value:float baseline:float multiple:float? peak:float observations:bigint message:text
    """,
    "gaps": """
        gap_id:text symbol:text? channel:text cause:text start_time:time end_time:time? opened_time:time
        healed_time:time? status:text healed_by:text? rows_healed:bigint? attempts:int reason:text?
    """,
    "labels": """
        label_id:text symbol:text start_time:time end_time:time kind:text is_anomaly:bool note:text? author:text
        created_time:time
    """,
    "audit": """
        entry_id:text at_time:time actor:text action:text subject:text detail:text?
    """,
    "quarantine": """
        entry_id:text source:text received_time:time reason:text raw:text
    """,
}
_KEYS = {
    "anomalies": ("market", "symbol", "start_time"),
    "coverage": ("market", "date", "symbol"),
    "bars": ("market", "symbol", "clock", "time"),
    "microstructure": ("market", "symbol", "event_time"),
    "alerts": ("market", "alert_id"),
    "gaps": ("market", "gap_id"),
    "labels": ("market", "label_id"),
    "audit": ("market", "entry_id"),
    "quarantine": ("market", "entry_id"),
}
#: The column of time that is indexed, and the rows that stand for something that has not ended.
_TIMES = {
    "anomalies": "start_time",
    "bars": "time",
    "microstructure": "event_time",
    "alerts": "start_time",
    "gaps": "start_time",
    "labels": "start_time",
    "audit": "at_time",
    "quarantine": "received_time",
}
_OPEN = {"alerts": "end_time IS NULL", "gaps": "status IN ('growing', 'open')"}
_BLOCK_RANGES: Final[dict[str, Any]] = {"postgresql_using": "brin", "postgresql_with": {"autosummarize": "on"}}


def upgrade() -> None:
    """Forwards."""
    for name, columns in _COLUMNS.items():
        op.create_table(
            name,
            sa.Column("market", sa.Text(), nullable=False),
            sa.Column("date", sa.Date(), nullable=False),
            *(_column(stated) for stated in columns.split()),
            sa.PrimaryKeyConstraint(*_KEYS[name], name=f"pk_{name}"),
            if_not_exists=True,
        )
        _create_indexes(name)


def downgrade() -> None:
    """Backwards, to an empty database."""
    for name in _COLUMNS:
        op.drop_table(name)


def _column(stated: str) -> sa.Column[Any]:
    name, _, kind = stated.partition(":")
    return sa.Column(name, _TYPES[kind.removesuffix("?")], nullable=kind.endswith("?"))


def _create_indexes(name: str) -> None:
    time, is_open = _TIMES.get(name), _OPEN.get(name)
    is_series = name in ("bars", "microstructure")
    if is_open is not None:
        where = sa.text(is_open)
        op.create_index(
            f"ix_{name}_open", name, ["market"], if_not_exists=True, postgresql_where=where, sqlite_where=where
        )
    if not is_series:
        op.create_index(f"ix_{name}_partition", name, ["market", "date"], if_not_exists=True)
    if time is not None:
        op.create_index(f"ix_{name}_{time}", name, [time], if_not_exists=True, **(_BLOCK_RANGES if is_series else {}))
