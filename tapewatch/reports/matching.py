"""Compares detections with known anomalies, event by event."""

import polars as pl

from tapewatch.market.tables import ANOMALIES

#: Columns of a list of known anomalies.
TRUTH_SCHEMA = pl.Schema(
    {
        "symbol": pl.String(),
        "event_id": pl.String(),
        "kind": pl.String(),
        "start_time": pl.Datetime("ns", "UTC"),
        "end_time": pl.Datetime("ns", "UTC"),
    }
)


def match(truth: pl.DataFrame, anomalies: pl.DataFrame) -> pl.DataFrame:
    """Each known anomaly, and whether a detection of its symbol overlaps it.

    Args:
        truth: symbol, event_id, kind, start_time, end_time (half-open).
        anomalies: `ANOMALIES`.

    Returns: `truth` sorted by symbol and start, and `is_found` (bool, never null).
    """
    known = truth.select(pl.col(name).cast(dtype) for name, dtype in TRUTH_SCHEMA.items())
    hits = _overlaps(known, anomalies).select("symbol", "event_id").unique().with_columns(is_found=True)
    return (
        known.join(hits, on=["symbol", "event_id"], how="left")
        .with_columns(pl.col("is_found").fill_null(False))
        .sort("symbol", "start_time", "event_id")
    )


def recall_by_kind(matched: pl.DataFrame) -> pl.DataFrame:
    """kind, events, found and recall of a `match`, most frequent kind first and `all` last; no rows without known anomalies."""
    counts = [pl.len().cast(pl.Int64).alias("events"), pl.col("is_found").sum().cast(pl.Int64).alias("found")]
    by_kind = matched.group_by("kind").agg(counts).sort("events", "kind", descending=[True, False])
    total = matched.select(pl.lit("all").alias("kind"), *counts).filter(pl.col("events") > 0)
    return pl.concat([by_kind, total]).with_columns(recall=pl.col("found") / pl.col("events"))


def unexplained(anomalies: pl.DataFrame, truth: pl.DataFrame) -> int:
    """Number of detections that overlap no known anomaly of their symbol."""
    known = truth.select(pl.col(name).cast(dtype) for name, dtype in TRUTH_SCHEMA.items())
    explained = _overlaps(known, anomalies).select("symbol", "found_start").unique()
    return anomalies.height - explained.height


def _overlaps(known: pl.DataFrame, anomalies: pl.DataFrame) -> pl.DataFrame:
    ANOMALIES.check(anomalies)
    found = anomalies.select(
        pl.col("symbol").cast(pl.String), found_start=pl.col("start_time"), found_end=pl.col("end_time")
    )
    return known.join_where(
        found,
        pl.col("symbol") == pl.col("symbol_right"),
        pl.col("start_time") < pl.col("found_end"),
        pl.col("found_start") < pl.col("end_time"),
    )
