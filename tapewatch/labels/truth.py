"""The minutes that a source with known truth declares anomalous."""

from collections.abc import Iterable

import polars as pl

from tapewatch.market.instruments import Session
from tapewatch.market.tables.tape import SYMBOL, TIME, TRUTH_LABELS

#: One row an anomaly, from `start_time` (included) to `end_time` (excluded).
TRUTH_EVENTS_SCHEMA = pl.Schema(
    {"symbol": SYMBOL, "event_id": pl.String(), "kind": SYMBOL, "start_time": TIME, "end_time": TIME}
)


def truth_minutes(truth_events: pl.DataFrame, session: Session, symbols: Iterable[str] | None = None) -> pl.DataFrame:
    """Every minute of the session's day that overlaps an anomaly; one row for each anomaly that it overlaps.

    Args:
        truth_events: columns of `TRUTH_EVENTS_SCHEMA`. An event that ends where it starts has one minute.
        session: minutes outside its day are left out.
        symbols: keep only these; None keeps all.

    Returns:
        A TRUTH_LABELS frame; `known_time` is the minute's end.

    Raises:
        ValueError: an event ends before it starts.
    """
    backwards = truth_events.filter(pl.col("end_time") < pl.col("start_time"))
    if backwards.height:
        raise ValueError(f"event {backwards['event_id'][0]} of {backwards['symbol'][0]} ends before it starts")
    if symbols is not None:
        truth_events = truth_events.filter(pl.col("symbol").cast(pl.String).is_in(list(symbols)))
    if truth_events.is_empty():
        return TRUTH_LABELS.empty()
    # The last instant that belongs to an event is one nanosecond before its end.
    last = pl.max_horizontal("start_time", pl.col("end_time") - pl.duration(nanoseconds=1))
    minutes = (
        truth_events.with_columns(
            event_time=pl.datetime_ranges(
                pl.col("start_time").dt.truncate("1m"), last.dt.truncate("1m"), "1m", time_unit="ns"
            )
        )
        .explode("event_time")
        .with_columns(known_time=pl.col("event_time") + pl.duration(minutes=1))
    )
    start = pl.col("event_time").dt.epoch("ns")
    of_day = minutes.filter((start >= session.day_start) & (start < session.day_end))
    return TRUTH_LABELS.conform(of_day).sort(pl.col("symbol").cast(pl.String), "event_time", "event_id")
