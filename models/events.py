"""Merges adjacent anomalous minutes of a symbol into one anomaly with a kind and reasons."""

import json
from collections.abc import Callable

import polars as pl

from models.base import Scores
from models.naming import UNUSUAL, name_events
from tapewatch.market.tables.tape import ANOMALIES

_REASONS = 5
#: As `Detector.hours_between`.
HoursBetween = Callable[[Scores, pl.Series], Scores | None]


def merge_anomalies(
    scored: pl.DataFrame,
    attributions: pl.DataFrame,
    rows: pl.DataFrame,
    *,
    threshold: float,
    model: str,
    max_gap_minutes: int = 1,
    hours_between: HoursBetween | None = None,
) -> pl.DataFrame:
    """Merge the minutes at or above `threshold` into anomalies.

    Minutes of a symbol with at most `max_gap_minutes` ordinary ones between them form one event. Its kind is what the tape did
    in all of them (`naming.py`), or where that fits none, the kind that the detector gives to most of its flagged minutes, if it names any; its reasons are those of its highest-scored minute (the earliest of equals), strongest first.

    Args:
        scored: the result of a detector's `scored`, perhaps with `kind` (text); repeated minutes count once.
        attributions: an ATTRIBUTIONS frame of the flagged minutes; minutes missing from it have no reasons.
        rows: the MICROSTRUCTURE rows that were scored, one for each of `scored`'s.
        threshold: lowest anomalous score.
        model: name and version of the detector.
        max_gap_minutes: ordinary minutes that do not end an event.
        hours_between: the detector's, by which an event gets the level of its highest score; None for no level.

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
    kinds = name_events(events, minutes)
    if "kind" in scored.columns:
        kinds = _named_by_detector(kinds, events, scored, threshold)
    hours = hours_between(events["score"].to_numpy(), events["symbol"]) if hours_between else None
    named = events.join(kinds, on="event", maintain_order="left").with_columns(
        hours=pl.lit(None, pl.Float64) if hours is None else pl.Series(hours),
        reasons=pl.Series([json.dumps(top_reasons(rows)) for rows in _peak_attributions(events, attributions)]),
        threshold=pl.lit(threshold),
        model=pl.lit(model),
    )
    return ANOMALIES.conform(named.sort("symbol", "start_time"))


def _named_by_detector(
    kinds: pl.DataFrame, events: pl.DataFrame, scored: pl.DataFrame, threshold: float
) -> pl.DataFrame:
    """`kinds` (event, kind), those without a name from `scored`'s kinds: that of most flagged minutes, of equals the first by name."""
    text = pl.col("symbol").cast(pl.String)
    said = (
        scored.filter(pl.col("score") >= threshold, pl.col("kind").is_not_null())
        .select(text, "event_time", said="kind")
        .join(events.select("event", "symbol", "start_time", "end_time"), on="symbol")
        .filter(pl.col("event_time") >= pl.col("start_time"), pl.col("event_time") < pl.col("end_time"))
        .group_by("event", "said")
        .agg(votes=pl.len())
        .sort("event", "votes", "said", descending=[False, True, False])
        .unique("event", keep="first", maintain_order=True)
    )
    both = kinds.join(said.select("event", "said"), on="event", how="left", maintain_order="left")
    is_unnamed = (pl.col("kind") == UNUSUAL) & pl.col("said").is_not_null()
    return both.select("event", kind=pl.when(is_unnamed).then("said").otherwise("kind"))


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
