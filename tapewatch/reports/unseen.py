"""What each detector found on days that it had not seen, side by side."""

import polars as pl

from tapewatch.market.derived_tables import SCAN_EVALUATION
from tapewatch.market.tables import EVALUATION

#: A detector's prefix of columns, and its name for people.
DETECTORS = {"forest": "Isolation Forest", "scan": "scan"}


def found_on_unseen_days(evaluation: pl.DataFrame | None, scan_evaluation: pl.DataFrame | None) -> pl.DataFrame:
    """One row a kind of anomaly that was there, the most frequent first, `all` last; none where nothing was judged.

    Args:
        evaluation: `EVALUATION` of the Isolation Forest; None or empty where it was not judged.
        scan_evaluation: `SCAN_EVALUATION`, the same of the scan.

    Returns:
        kind, events, and of each detector found, delay_s (median, s) and false (alerts that meet no anomaly, in 390 minutes of
        a symbol), with its prefix; null where a detector was not judged, or is not by kind.
    """
    judged = {
        "forest": EVALUATION.empty() if evaluation is None else evaluation,
        "scan": SCAN_EVALUATION.empty() if scan_evaluation is None else scan_evaluation,
    }
    parts = [
        rows.select(
            pl.col("kind").cast(pl.String),
            pl.col("events").alias(f"{name}_events"),
            pl.col("found").alias(f"{name}_found"),
            pl.col("delay_s").alias(f"{name}_delay_s"),
            pl.col("false_alerts_per_390_minutes").alias(f"{name}_false"),
        )
        for name, rows in judged.items()
    ]
    both = parts[0].join(parts[1], on="kind", how="full", coalesce=True)
    # The forest judges whole minutes, and leaves out anomalies without one.
    events = pl.max_horizontal("forest_events", "scan_events")
    return (
        both.with_columns(events=events)
        .filter(pl.col("events") > 0)
        .sort(pl.col("kind") == "all", "events", "kind", descending=[False, True, False])
        .select("kind", "events", *(f"{name}_{part}" for name in DETECTORS for part in ("found", "delay_s", "false")))
    )
