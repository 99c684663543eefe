"""The trivial rule that a detector must beat: volume over three times its trailing mean."""

import polars as pl

#: The rule raises an alert above this ratio.
VOLUME_RATIO = 3.0
_FEWEST_MINUTES = 5


def volume_ratio(rows: pl.DataFrame, *, minutes: int = 20) -> pl.Series:
    """Volume of each minute over the mean of the `minutes` before it.

    Args:
        rows: symbol, event_time, volume; one row a minute, in any order.
        minutes: length of the trailing window; the mean leaves out minutes without a row.

    Returns:
        One ratio a row, in the order of `rows`; 0 if fewer than five minutes precede or their mean is 0.
    """
    trailing = (
        rows.select(pl.col("symbol").cast(pl.String), "event_time", "volume")
        .with_row_index("row")
        .sort("symbol", "event_time")
        .with_columns(
            mean=pl.col("volume").rolling_mean_by(
                "event_time", f"{minutes}m", closed="left", min_samples=_FEWEST_MINUTES
            ).over("symbol")
        )
        .sort("row")
    )  # fmt: skip
    ratio = pl.when(pl.col("mean") > 0).then(pl.col("volume") / pl.col("mean")).otherwise(0.0)
    return trailing.select(ratio.alias("volume_ratio")).to_series()
