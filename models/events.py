"""Merges adjacent anomalous minutes of a symbol into one anomaly with a kind and reasons."""

import json

import polars as pl

from models.naming import name_events
from tapewatch.market.tables import ANOMALIES

_REASONS = 5


def merge_anomalies(
    scored: pl.DataFrame,
    attributions: pl.DataFrame,
    rows: pl.DataFrame,
    *,
    threshold: float,
    model: str,
    max_gap_minutes: int = 1,
) -> pl.DataFrame:
    """Merge the minutes at or above `threshold` into anomalies.

    Minutes of a symbol with at most `max_gap_minutes` ordinary ones between them form one event. Its kind is what the tape did
    in all of them (`naming.py`); its reasons are those of its highest-scored minute (the earliest of equals), strongest first.

    Args:
        scored: the result of a detector's `scored`; repeated minutes count once.
        attributions: an ATTRIBUTIONS frame of the flagged minutes; minutes missing from it have no reasons.
        rows: the MICROSTRUCTURE rows that were scored, one for each of `scored`'s.
        threshold: lowest anomalous score.
        model: name and version of the detector.
        max_gap_minutes: ordinary minutes that do not end an event.

    Returns:
        An ANOMALIES frame sorted by symbol and start.
    """
    flagged = (
        scored.filter(pl.col("score") >= threshold)
        .select(pl.col("symbol").cast(pl.String), "event_time", "known_time", "score")
        .unique(["symbol", "event_time"], keep="any")
        .sort("symbol", "event_time")
    )
    if flagged.is_empty():
        return ANOMALIES.empty()
    silence = pl.col("event_time").diff().over("symbol")
    reach = pl.duration(minutes=max_gap_minutes + 1)
    events = (
        flagged.with_columns(event=(silence.is_null() | (silence > reach)).cum_sum())
        .sort("event", pl.col("score"), "event_time", descending=[False, True, False])
        .group_by("event", maintain_order=True)
        .agg(
            pl.col("symbol").first(),
            start_time=pl.col("event_time").min(),
            end_time=pl.col("known_time").max(),
            known_time=pl.col("known_time").min(),
            peak_time=pl.col("event_time").first(),
            score=pl.col("score").first(),
            minutes=pl.len(),
        )
    )
    states = scored.select(pl.col("symbol").cast(pl.String), "event_time", "is_out").unique(["symbol", "event_time"])
    minutes = rows.with_columns(pl.col("symbol").cast(pl.String)).join(states, on=["symbol", "event_time"])
    named = events.join(name_events(events, minutes), on="event", maintain_order="left").with_columns(
        reasons=pl.Series([json.dumps(top_reasons(rows)) for rows in _peak_attributions(events, attributions)]),
        threshold=pl.lit(threshold),
        model=pl.lit(model),
    )
    return ANOMALIES.conform(named.sort("symbol", "start_time"))


def top_reasons(attributions: pl.DataFrame, count: int = _REASONS) -> list[dict[str, object]]:
    """The largest positive contributions among one minute's ATTRIBUTIONS rows, as {feature, value, shap_value}."""
    strongest = (
        attributions.filter(pl.col("shap_value") > 0)
        .sort("shap_value", pl.col("feature").cast(pl.String), descending=[True, False])
        .head(count)
    )
    return strongest.select(pl.col("feature").cast(pl.String), "value", "shap_value").to_dicts()


def _peak_attributions(events: pl.DataFrame, attributions: pl.DataFrame) -> list[pl.DataFrame]:
    of_peaks = attributions.with_columns(pl.col("symbol").cast(pl.String)).join(
        events.select("event", "symbol", event_time="peak_time"), on=["symbol", "event_time"]
    )
    by_event = of_peaks.partition_by("event", as_dict=True)
    return [by_event.get((event,), of_peaks.clear()) for event in events["event"]]
