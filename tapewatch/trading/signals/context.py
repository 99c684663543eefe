"""What was known of each symbol at the end of each minute: price, spread, volatility, volume and regime."""

import polars as pl

#: Spread and volatility as multiples of the usual, from which a minute is thin, volatile or calm.
THIN, VOLATILE, CALM = 2.0, 1.5, 0.67
#: Minutes whose notional is averaged.
VOLUME_MINUTES = 30
REGIMES = ("calm", "usual", "volatile", "thin")
_READ = (
    "symbol", "event_time", "known_time", "is_regular", "last_price", "mid_price", "notional", "return_bps", "return_score",
    "roll_spread_bps", "quoted_spread_bps", "spread_ratio", "volatility_ratio", "flow_score_3m", "flow_score_5m",
    "best_level_ofi", "tape_age_s",
)  # fmt: skip


def context(rows: pl.DataFrame) -> pl.DataFrame:
    """The regular minutes of MICROSTRUCTURE rows with what signals need of them.

    Args:
        rows: MICROSTRUCTURE of whole symbols.

    Returns:
        symbol (text), event_time, known_time, price (midquote, or the last price), spread_bps (quoted, or Roll's), has_quotes,
        volatility_bps (root mean square one-minute return of the half hour before; null until there is one), minute_notional (mean
        of the last half hour), regime, return_bps, flow (flow_score_3m), flow_5m, ofi, tape_age_s; sorted by symbol and time.
    """
    usual = (pl.col("return_bps") / pl.col("return_score")).abs()
    minutes = (
        rows.select(_READ)
        .filter(pl.col("is_regular"))
        .with_columns(pl.col("symbol").cast(pl.String))
        .sort("symbol", "event_time")
    )
    regime = (
        pl.when(pl.col("spread_ratio") >= THIN)
        .then(pl.lit("thin"))
        .when(pl.col("volatility_ratio") >= VOLATILE)
        .then(pl.lit("volatile"))
        .when(pl.col("volatility_ratio") <= CALM)
        .then(pl.lit("calm"))
        .otherwise(pl.lit("usual"))
    )
    return minutes.select(
        "symbol",
        "event_time",
        "known_time",
        price=pl.coalesce("mid_price", "last_price"),
        spread_bps=pl.coalesce("quoted_spread_bps", "roll_spread_bps"),
        has_quotes=pl.col("quoted_spread_bps").is_not_null(),
        volatility_bps=pl.when(usual.is_finite() & (usual > 0)).then(usual).forward_fill().over("symbol"),
        minute_notional=pl.col("notional").rolling_mean(VOLUME_MINUTES, min_samples=1).over("symbol"),
        regime=regime,
        return_bps=pl.col("return_bps").fill_null(0.0),
        flow=pl.col("flow_score_3m").fill_null(0.0),
        flow_5m=pl.col("flow_score_5m").fill_null(0.0),
        ofi=pl.col("best_level_ofi").fill_null(0.0),
        tape_age_s="tape_age_s",
    )
