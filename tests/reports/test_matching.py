"""Overlap of known and found anomalies, at its edges."""

import datetime as dt

import polars as pl

from tapewatch.reports.matching import match, recall_by_kind, unexplained
from tests.support.anomalies import MINUTE, OPEN, event, events
from tests.support.made_up_run import detections, truth


def one_known(start: dt.datetime, end: dt.datetime, symbol: str = "AAPL") -> pl.DataFrame:
    return pl.DataFrame(
        {"symbol": [symbol], "event_id": ["1"], "kind": ["price_jump"], "start_time": [start], "end_time": [end]}
    )


def is_found(known: pl.DataFrame) -> bool:
    """Against one detection of AAPL in [OPEN, OPEN + 3 min)."""
    return bool(match(known, events(event()))["is_found"].item())


def test_intervals_are_half_open() -> None:
    assert is_found(one_known(OPEN + 2 * MINUTE, OPEN + 9 * MINUTE))
    assert not is_found(one_known(OPEN + 3 * MINUTE, OPEN + 9 * MINUTE))
    assert not is_found(one_known(OPEN - 5 * MINUTE, OPEN))
    assert is_found(one_known(OPEN - 5 * MINUTE, OPEN + dt.timedelta(seconds=1)))
    assert is_found(one_known(OPEN - 5 * MINUTE, OPEN + 9 * MINUTE))


def test_a_detection_of_another_symbol_does_not_count() -> None:
    assert not is_found(one_known(OPEN, OPEN + MINUTE, symbol="MSFT"))


def test_an_anomaly_found_twice_counts_once() -> None:
    known = one_known(OPEN, OPEN + 9 * MINUTE)
    twice = events(event(), event(start=OPEN + 5 * MINUTE))
    assert match(known, twice).height == 1
    assert unexplained(twice, known) == 0


def test_recall_adds_up() -> None:
    table = recall_by_kind(match(truth(), detections()))
    assert table.columns == ["kind", "events", "found", "recall"]
    kinds = table.filter(pl.col("kind") != "all")
    assert kinds["events"].sum() == 8
    assert kinds["found"].sum() == 4
    assert table.row(-1) == ("all", 8, 4, 0.5)
    assert unexplained(detections(), truth()) == 1


def test_without_known_anomalies_there_are_no_rows_and_all_detections_are_unexplained() -> None:
    nothing = truth().clear()
    assert recall_by_kind(match(nothing, detections())).height == 0
    assert unexplained(detections(), nothing) == 5
