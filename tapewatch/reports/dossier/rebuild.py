"""Makes an event's score again from the lake, bit for bit, or shows what became of it."""

import datetime as dt
from dataclasses import dataclass

import polars as pl

from models.base import Detector
from tapewatch.features.from_bars import bar_features
from tapewatch.features.microstructure import microstructure
from tapewatch.market.instruments import Partition
from tapewatch.market.tables.tape import BARS, MICROSTRUCTURE, QUOTES, TRADES
from tapewatch.reports.dossier.event import Event
from tapewatch.reports.dossier.measures import peak_minute
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.tape import has_ticks, tape_end


@dataclass(frozen=True)
class Rebuilt:
    """An event's score made again: from the features in the lake, and from its tape where it was computed from there too.

    `peak` is the most anomalous minute as the tape gives it now, and `attributions` its ATTRIBUTIONS rows. A score is None where
    nothing of the event is left, and `attributions` None for the scan.
    """

    from_features: float | None
    from_tape: float | None
    peak: pl.DataFrame
    attributions: pl.DataFrame | None
    words: str = ""


def rebuilt(lake: Lake, event: Event, detector: Detector) -> Rebuilt:
    """The score of an anomaly, by the detector that found it.

    Raises:
        LakeError: the features or the tape of its day are not in the lake.
    """
    stored = lake.read(MICROSTRUCTURE, event.partition, symbols=[event.symbol]).filter("is_regular")
    score, at = _scored(stored, event, detector)
    if score != event.score:
        # In float32 the last bit depends on the rows that are scored together: as the detection did, the whole day.
        score = _scored_with_all(lake, event, detector, score)
    rows = features_from_tape(lake, event.partition, event.symbol)
    from_tape = score
    if not rows.equals(stored):
        from_tape, at = _scored(rows, event, detector)
    if at is None:
        return Rebuilt(score, from_tape, rows.clear(), None)
    peak = rows[at]
    explained = detector.explain(rows[max(0, at + 1 - _window(detector)) : at + 1])
    return Rebuilt(score, from_tape, peak, explained.filter(pl.col("event_time") == peak["event_time"][0]))


def rebuilt_incident(lake: Lake, event: Event, found: pl.DataFrame) -> Rebuilt:
    """The surprise of an incident, and the regular minute in which it begins.

    Args:
        lake: where its tape is.
        event: the incident as it was stored.
        found: what the scan that found it finds in its day now (`INCIDENTS`).

    Raises:
        LakeError: the tape of its day is not in the lake.
    """
    same = found.filter((pl.col("symbol").cast(pl.String) == event.symbol) & (pl.col("start_time") == event.start))
    rows = features_from_tape(lake, event.partition, event.symbol)
    minute = rows.filter(pl.col("event_time") == event.first_minute)
    score = float(same["surprise"][0]) if same.height else None
    return Rebuilt(score, score, minute, None)


def features_from_tape(lake: Lake, partition: Partition, symbol: str) -> pl.DataFrame:
    """The regular MICROSTRUCTURE rows of a symbol's day, computed from its trades and quotes, or bars where it has none."""
    session, through = partition.session, tape_end(lake, partition)
    if has_ticks(lake, partition):
        trades, quotes = (
            lake.read(table, partition, symbols=[symbol]) if lake.exists(table, partition) else table.empty()
            for table in (TRADES, QUOTES)
        )
        rows = microstructure(trades, quotes, session, through_ns=through)
    else:
        rows = bar_features(lake.read(BARS, partition, symbols=[symbol]), session, through_ns=through)
    return rows.filter("is_regular")


def _scored_with_all(lake: Lake, event: Event, detector: Detector, alone: float | None) -> float | None:
    """The highest score within the event, scored with the day's other rows; `alone` unless that gives the stored score."""
    day = lake.read(MICROSTRUCTURE, event.partition).filter("is_regular")
    if day.is_empty():
        return alone
    inside = detector.scored(day).filter(
        (pl.col("symbol").cast(pl.String) == event.symbol)
        & pl.col("event_time").is_between(event.start, event.end, "left")
    )
    return event.score if event.score == inside["score"].max() else alone


def _scored(rows: pl.DataFrame, event: Event, detector: Detector) -> tuple[float | None, int | None]:
    """The highest score within the event, and the row that has it."""
    ordered = rows["event_time"]
    first, last = (int(ordered.search_sorted(time, side="left")) for time in (event.start, event.end))
    if first == last:
        return None, None
    # Minutes after the event change no score, nor do those before the detector's window.
    begin = max(0, first + 1 - _window(detector))
    part = rows[begin:last]
    scores = detector.scored(part)["score"]
    at = peak_minute(part, scores, event.start, event.end)
    return (None, None) if at is None else (float(scores[at]), begin + at)


def _window(detector: Detector) -> int:
    """The minutes that a detector reads for one score."""
    return int(getattr(getattr(detector, "parameters", None), "window", 1))


def around(event: Event, minutes: int) -> tuple[dt.datetime, dt.datetime]:
    """The event with so many minutes before and after it."""
    margin = dt.timedelta(minutes=minutes)
    return event.first_minute - margin, event.end_minute + margin
