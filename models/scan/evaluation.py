"""How well incidents match known anomalies, event by event."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.market.tables.derived import SCAN_EVALUATION

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
#: An incident may be known so much later than its anomaly ends: windows of up to seven minutes fill while it goes on.
_LATE = pl.duration(minutes=2)
_MINUTES_A_DAY = 390


@dataclass(frozen=True)
class ScanEvaluation:
    """`metrics` by name, and `by_kind`, a SCAN_EVALUATION frame. `event_recall` is absent where no anomaly is known."""

    metrics: dict[str, float]
    by_kind: pl.DataFrame


def evaluate_incidents(
    incidents: pl.DataFrame, anomalies: pl.DataFrame, *, symbol_minutes: float, truth: str
) -> ScanEvaluation:
    """Judge incidents against known anomalies.

    An anomaly is found if an incident of its symbol overlaps it or begins up to two minutes after its end; it is named if one
    of these has its kind. An incident that finds no anomaly is a false alert.

    Args:
        incidents: `INCIDENTS` rows.
        anomalies: symbol, event_id, kind, start_time, end_time; repeated rows count once.
        symbol_minutes: minutes of tape judged, over all symbols.
        truth: origin of the anomalies, `source` or `injected`.
    """
    text = pl.col("symbol", "kind").cast(pl.String)
    events = anomalies.select(text, "event_id", "start_time", "end_time").unique(["symbol", "event_id"])
    found = incidents.select(text, "start_time", "end_time", "known_time").with_row_index("incident")
    hits = events.join(found, on="symbol", suffix="_found").filter(
        (pl.col("end_time_found") > pl.col("start_time")) & (pl.col("start_time_found") <= pl.col("end_time") + _LATE)
    )
    delay = (pl.col("known_time") - pl.col("start_time")).dt.total_milliseconds() / 1e3
    by_event = hits.group_by("symbol", "event_id").agg(
        is_named=(pl.col("kind") == pl.col("kind_found")).any(), delay=delay.min().clip(0)
    )
    judged = events.join(by_event, on=["symbol", "event_id"], how="left")
    counts = {
        "events": pl.len(),
        "found": pl.col("delay").is_not_null().sum(),
        "named": pl.col("is_named").fill_null(value=False).sum(),
        "delay_s": pl.col("delay").median(),
    }
    table = pl.concat([judged.select(kind=pl.lit("all"), **counts), judged.group_by("kind").agg(**counts).sort("kind")])
    false = found.height - hits["incident"].n_unique()
    false_of = (
        incidents.with_row_index("incident")
        .filter(~pl.col("incident").is_in(hits["incident"].to_list()))
        .group_by(pl.col("kind").cast(pl.String))
        .agg(false_alerts=pl.len())
    )
    by_kind = (
        table.join(
            pl.concat([false_of, pl.DataFrame({"kind": ["all"], "false_alerts": [false]}, schema=false_of.schema)]),
            on="kind",
            how="full",
            coalesce=True,
        )
        .with_columns(pl.col("events", "found", "named", "false_alerts").fill_null(0), truth=pl.lit(truth))
        .with_columns(recall=pl.when(pl.col("events") > 0).then(pl.col("found") / pl.col("events")))
    )
    low, high = _interval(by_kind["found"].to_numpy(), by_kind["events"].to_numpy())
    by_kind = by_kind.with_columns(
        recall_low=pl.Series(low, nan_to_null=True), recall_high=pl.Series(high, nan_to_null=True)
    )
    by_kind = by_kind.with_columns(
        false_alerts_per_390_minutes=pl.col("false_alerts") / (symbol_minutes / _MINUTES_A_DAY)
        if symbol_minutes
        else None
    )
    rate = false / (symbol_minutes / _MINUTES_A_DAY) if symbol_minutes else 0.0
    metrics = {"events": float(events.height), "incidents": float(found.height), "false_alerts_per_390_minutes": rate}
    if events.height:
        whole = by_kind.filter(pl.col("kind") == "all").row(0, named=True)
        metrics["event_recall"] = whole["recall"]
        if whole["found"]:
            metrics |= {"named_share": whole["named"] / whole["found"], "median_delay_s": whole["delay_s"]}
    is_all = pl.col("kind") == "all"
    return ScanEvaluation(metrics, SCAN_EVALUATION.conform(by_kind.sort(~is_all, "kind")))


def _interval(found: Counts, events: Counts) -> tuple[Floats, Floats]:
    """Wilson's 95 % interval of each share found / events; NaN without events."""
    z = 1.959964
    with np.errstate(divide="ignore", invalid="ignore"):
        share = found / events
        middle = share + z**2 / (2 * events)
        reach = z * np.sqrt(share * (1 - share) / events + z**2 / (4 * events**2))
        scale = 1 + z**2 / events
        low, high = (middle - reach) / scale, (middle + reach) / scale
    return np.where(events > 0, np.maximum(low, 0), np.nan), np.where(events > 0, np.minimum(high, 1), np.nan)
