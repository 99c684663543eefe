"""Event by event: what detectors found of injected anomalies, and what they raised besides."""

import numpy as np
import polars as pl

#: An alert may come so much later than its anomaly ends.
_LATE = pl.duration(minutes=2)
_MINUTES_A_DAY = 390
_NAMES = ("symbol", "kind")


def judged(found: pl.DataFrame, events: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Events with `is_found`, `delay_s`; alerts with `is_true`, `is_named` (its kind is that of an event it overlaps)."""
    text = pl.col(*_NAMES).cast(pl.String)
    known = events.with_columns(text)
    alerts = found.with_columns(text).with_row_index("alert")
    pairs = known.join(alerts, on="symbol", suffix="_alert").filter(
        (pl.col("end_time_alert") > pl.col("start_time")) & (pl.col("start_time_alert") <= pl.col("end_time") + _LATE)
    )
    delay = (pl.col("known_time") - pl.col("start_time")).dt.total_milliseconds() / 1e3
    by_event = pairs.group_by("symbol", "event_id").agg(delay_s=delay.min().clip(0))
    named = pairs.group_by("alert").agg(is_named=(pl.col("kind") == pl.col("kind_alert")).any())
    of_events = known.join(by_event, on=["symbol", "event_id"], how="left").with_columns(
        is_found=pl.col("delay_s").is_not_null()
    )
    of_alerts = alerts.join(named, on="alert", how="left").with_columns(is_true=pl.col("is_named").is_not_null())
    return of_events, of_alerts.with_columns(pl.col("is_named").fill_null(value=False))


def free_minutes(events: pl.DataFrame, symbol_minutes: float) -> float:
    """Minutes outside events and the two after each."""
    taken = (events["end_time"] - events["start_time"]).dt.total_seconds().sum() / 60 + 2 * events.height
    return symbol_minutes - float(taken)


def interval(found: int, events: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    if not events:
        return float("nan"), float("nan")
    z, share = 1.959964, found / events
    middle = share + z**2 / (2 * events)
    reach = z * np.sqrt(share * (1 - share) / events + z**2 / (4 * events**2))
    scale = 1 + z**2 / events
    return max((middle - reach) / scale, 0.0), min((middle + reach) / scale, 1.0)


def half_found_at(events: pl.DataFrame) -> str:
    """The strength at which half of the events are found, between those tried, by their logarithms."""
    shares = events.group_by("strength").agg(pl.col("is_found").mean()).sort("strength")
    strengths, found = shares["strength"].to_list(), shares["is_found"].to_list()
    if not strengths:
        return "-"
    if found[0] >= 0.5:
        return f"≤ {strengths[0]:g}"
    for at in range(1, len(found)):
        if found[at] >= 0.5:
            part = (0.5 - found[at - 1]) / (found[at] - found[at - 1])
            return f"{strengths[at - 1] * (strengths[at] / strengths[at - 1]) ** part:.1f}"
    return f"> {strengths[-1]:g}"


def share(rows: pl.DataFrame, column: str = "is_found") -> str:
    """A share as text, with its interval."""
    if rows.is_empty():
        return "-"
    true = int(rows[column].sum())
    low, high = interval(true, rows.height)
    return f"{true / rows.height:.2f} ({low:.2f}–{high:.2f})".replace("0.", ".")


def per_day(count: int, minutes: float) -> float:
    """A count in 390 minutes."""
    return count / minutes * _MINUTES_A_DAY if minutes else float("nan")
