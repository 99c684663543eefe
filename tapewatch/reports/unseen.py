"""What each detector found on days that it had not seen, side by side."""

import polars as pl

from tapewatch.market.tables.derived import COMPARISON, SCAN_EVALUATION
from tapewatch.market.tables.tape import EVALUATION

#: A detector's prefix of columns, and its name for people. The ensemble is the champion of minutes, unless the forest ranks them better.
DETECTORS = {
    "ensemble": "ensemble",
    "forest": "Isolation Forest",
    "classifier": "classifier",
    "autoencoder": "autoencoder",
    "scan": "scan",
}
_OF_COMPARISON = {
    "ensemble": "ensemble",
    "classifier": "anomaly_classifier",
    "autoencoder": "lstm_autoencoder",
}


def found_on_unseen_days(
    evaluation: pl.DataFrame | None, scan_evaluation: pl.DataFrame | None, comparison: pl.DataFrame | None = None
) -> pl.DataFrame:
    """One row a kind of anomaly that was there, the most frequent first, `all` last; none where nothing was judged.

    Args:
        evaluation: `EVALUATION` of the Isolation Forest; None or empty where it was not judged.
        scan_evaluation: `SCAN_EVALUATION`, the same of the scan.
        comparison: `COMPARISON`, the same of the other detectors of minutes.

    Returns:
        kind, events, and of each detector found, delay_s (median, s) and false (alerts that meet no anomaly, in 390 minutes of
        a symbol), with its prefix; null where a detector was not judged, or is not by kind.
    """
    others = COMPARISON.empty() if comparison is None else comparison
    judged = {
        "forest": EVALUATION.empty() if evaluation is None else evaluation,
        **{name: others.filter(pl.col("detector").cast(pl.String) == of) for name, of in _OF_COMPARISON.items()},
        "scan": SCAN_EVALUATION.empty() if scan_evaluation is None else scan_evaluation,
    }
    together = pl.DataFrame(schema={"kind": pl.String()})
    for name, rows in judged.items():
        part = rows.select(
            pl.col("kind").cast(pl.String),
            pl.col("events").alias(f"{name}_events"),
            pl.col("found").alias(f"{name}_found"),
            pl.col("delay_s").alias(f"{name}_delay_s"),
            pl.col("false_alerts_per_390_minutes").alias(f"{name}_false"),
        )
        together = together.join(part, on="kind", how="full", coalesce=True)
    # Detectors of minutes judge whole minutes, and leave out anomalies without one.
    events = pl.max_horizontal(f"{name}_events" for name in judged)
    return (
        together.with_columns(events=events)
        .filter(pl.col("events") > 0)
        .sort(pl.col("kind") == "all", "events", "kind", descending=[False, True, False])
        .select("kind", "events", *(f"{name}_{part}" for name in DETECTORS for part in ("found", "delay_s", "false")))
    )


def shown(unseen: pl.DataFrame) -> dict[str, str]:
    """Those of `DETECTORS` that a table of `found_on_unseen_days` has room for: judged ones, and always forest and scan."""
    return {
        name: title
        for name, title in DETECTORS.items()
        if name in ("forest", "scan") or unseen[f"{name}_found"].count()
    }
