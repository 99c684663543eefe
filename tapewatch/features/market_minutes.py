"""`MARKET_MICROSTRUCTURE` rows: the same function for live rows and for those of the lake."""

import polars as pl

from tapewatch.market.tables.features import MARKET_MICROSTRUCTURE

_MEASURES = {
    "buy_volume": "buy_volume",
    "sell_volume": "sell_volume",
    "order_imbalance": "order_flow_imbalance",
    "spread_bps": "quoted_spread_bps",
    "volatility_bps": "realised_volatility_bps",
}
#: The columns that are needed of `MICROSTRUCTURE` and of `INDICATORS`.
ROW_COLUMNS = ("symbol", "event_time", *_MEASURES.values())
INDICATOR_COLUMNS = ("symbol", "event_time", "rsi_14", "macd_bps", "bollinger_position")
SCORE_COLUMNS = ("symbol", "event_time", "anomaly_score", "model")


def market_minutes(rows: pl.DataFrame, indicators: pl.DataFrame, scores: pl.DataFrame | None = None) -> pl.DataFrame:
    """`MARKET_MICROSTRUCTURE` rows, one for each of `rows` in their order.

    A minute without a bar has no indicators, and one that was not scored has no score.

    Args:
        rows: `ROW_COLUMNS` of `MICROSTRUCTURE`.
        indicators: `INDICATOR_COLUMNS` of `INDICATORS`.
        scores: `SCORE_COLUMNS` of the minutes that a registered model scored.
    """
    found = rows.select(_named(), "event_time", **_MEASURES)
    for other in (indicators.select(INDICATOR_COLUMNS), scores):
        if other is not None:
            found = found.join(
                other.with_columns(_named()), on=["symbol", "event_time"], how="left", maintain_order="left"
            )
    return MARKET_MICROSTRUCTURE.conform(found)


def _named() -> pl.Expr:
    # Categories of different frames join as text.
    return pl.col("symbol").cast(pl.String)
