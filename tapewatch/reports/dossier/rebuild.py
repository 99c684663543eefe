"""Makes an event's score again from the lake, bit for bit, or shows what became of it."""

import datetime as dt
from dataclasses import dataclass

import polars as pl

from models.base import Detector
from models.scan.detector import ScanDetector
from tapewatch.features.bins.records import BIN_NS
from tapewatch.features.from_bars import bar_features
from tapewatch.features.microstructure import microstructure
from tapewatch.market.instruments import NS_PER_SECOND, Partition
from tapewatch.market.tables.derived import BINS_5S
from tapewatch.market.tables.tape import BARS, MICROSTRUCTURE, QUOTES, TRADES
from tapewatch.reports.dossier.event import Event
from tapewatch.reports.dossier.measures import peak_minute
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.tape import has_ticks, tape_end


@dataclass(frozen=True)
class Rebuilt:
    """An event's score made again: from the features in the lake, and from its tape where it was computed from there too.

    `peak` is the most anomalous minute as the tape gives it now, and `attributions` its ATTRIBUTIONS rows. A score is None where
    nothing of the event is left, and `attributions` None without a detector of minutes.
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
    return Rebuilt(score, from_tape, rows[at], _explained(rows, at, detector))


def rebuilt_incident(lake: Lake, event: Event, scan: ScanDetector, champion: Detector | None) -> Rebuilt:
    """The surprise of an incident by the scan that found it, and the regular minute in which it begins.

    Args:
        lake: where its tape is.
        event: the incident as it was stored.
        scan: what found it.
        champion: explains the minute, since the scan's reasons name no features; None without one.

    Raises:
        LakeError: the tape of its day is not in the lake.
    """
    day, symbol = event.partition, event.symbol
    bins = lake.read(BINS_5S, day, symbols=[symbol, *scan.peers_of(symbol, day.market)])

    def again(last_ns: int) -> float | None:
        found = scan.incidents_of(symbol, bins, day.session, last_ns=last_ns)
        same = found.filter(pl.col("start_time") == event.start)
        return float(same["surprise"][0]) if same.height else None

    # What came after it changes nothing, unless the tape was revised.
    score = again(int(event.end.timestamp()) * NS_PER_SECOND - BIN_NS)
    if score != event.score:
        newest = lake.scan(BINS_5S, day).select(pl.col("event_time").max().to_physical()).collect().item()
        score = again(int(newest))
    minute = rebuilt_minute(lake, event, champion)
    return Rebuilt(score, score, minute.peak, minute.attributions)


def rebuilt_minute(lake: Lake, event: Event, champion: Detector | None) -> Rebuilt:
    """The regular minute in which an event begins, from its tape, without a score; attributions by the champion, if there is one.

    Raises:
        LakeError: the tape of its day is not in the lake.
    """
    rows = features_from_tape(lake, event.partition, event.symbol)
    at = int(rows["event_time"].search_sorted(event.first_minute, side="left"))
    if at == rows.height or rows["event_time"][at] != event.first_minute:
        return Rebuilt(None, None, rows.clear(), None)
    return Rebuilt(None, None, rows[at], None if champion is None else _explained(rows, at, champion))


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
    begin = _first_row(first, detector)
    part = rows[begin:last]
    scores = detector.scored(part)["score"]
    at = peak_minute(part, scores, event.start, event.end)
    return (None, None) if at is None else (float(scores[at]), begin + at)


def _explained(rows: pl.DataFrame, at: int, detector: Detector) -> pl.DataFrame:
    """The attributions of one row, with the minutes before it that the detector reads."""
    explained = detector.explain(rows[_first_row(at, detector) : at + 1])
    return explained.filter(pl.col("event_time") == rows["event_time"][at])


def _first_row(at: int, detector: Detector) -> int:
    """The first of the rows that are scored together to score row `at`.

    At least two, if there are: NumPy adds up the trees of a single row in another order, and so the last bit may differ.
    """
    return max(0, at - max(detector.context_minutes, 1))


def around(event: Event, minutes: int) -> tuple[dt.datetime, dt.datetime]:
    """The event with so many minutes before and after it."""
    margin = dt.timedelta(minutes=minutes)
    return event.first_minute - margin, event.end_minute + margin
