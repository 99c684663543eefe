"""Feature rows with the labels that became known later."""

import polars as pl

from tapewatch.market.tables.tape import TRAINING_SET


def build_training_set(
    microstructure: pl.DataFrame,
    barrier_labels: pl.DataFrame,
    truth_labels: pl.DataFrame | None,
    human_labels: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Regular-session feature rows with their labels.

    A barrier label belongs to the minute that ends at its event: features and event become known together, the label at
    `barrier_known_time`. Feature columns are unchanged.

    Args:
        microstructure: a MICROSTRUCTURE frame.
        barrier_labels: a BARRIER_LABELS frame.
        truth_labels: a TRUTH_LABELS frame, possibly empty; None where the source states no truth.
        human_labels: a HUMAN_LABELS frame; None where nobody was asked.

    Returns:
        A TRAINING_SET frame, one row for each regular minute of `microstructure`. `is_anomaly` is null without truth; where
        anomalies overlap, `anomaly_kind` is that of the one that began first. Of several people's labels of a minute counts the one
        that covers most of it, of equal ones the last.
    """
    barriers = barrier_labels.select(
        "symbol", known_time="event_time", barrier_label="label", barrier_known_time="known_time"
    )
    rows = microstructure.filter("is_regular").join(barriers, on=["symbol", "known_time"], how="left")
    if truth_labels is not None:
        kinds = (
            truth_labels.sort("start_time", "event_id")
            .group_by("symbol", "event_time", maintain_order=True)
            .agg(anomaly_kind=pl.col("kind").first())
        )
        rows = rows.join(kinds, on=["symbol", "event_time"], how="left").with_columns(
            is_anomaly=pl.col("anomaly_kind").is_not_null()
        )
    if human_labels is not None:
        rows = rows.join(_said(rows, human_labels), on=["symbol", "event_time"], how="left")
    return TRAINING_SET.conform(rows).sort(pl.col("symbol").cast(pl.String), "event_time")


def _said(rows: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """The minutes that people's labels cover, by their refined edges, with what is said of each."""
    spans = labels.select(
        "symbol",
        start=pl.coalesce("refined_start", "start_time"),
        end=pl.coalesce("refined_end", "end_time"),
        human_kind="kind",
        human_confidence="confidence",
        human_known_time="known_time",
    )
    inside = pl.min_horizontal("known_time", "end") - pl.max_horizontal("event_time", "start")
    length = pl.col("known_time") - pl.col("event_time")
    return (
        rows.select("symbol", "event_time", "known_time")
        .join(spans, on="symbol")
        .with_columns(human_share=inside / length)
        .filter(pl.col("human_share") > 0)
        .sort("human_share", "human_known_time")
        .unique(["symbol", "event_time"], keep="last")
        .drop("known_time", "start", "end")
    )
