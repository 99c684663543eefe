"""Labels from the dashboard: saved whole, taken back by their author alone; the queue begins with the least certain."""

import datetime as dt

import polars as pl
import pytest

from dashboard.reading.marking import own_labels, queue, save, take_back
from dashboard.reading.training import said_minutes
from tapewatch.labels.people.human import HumanLabel, LabelError
from tapewatch.labels.training.training_set import build_training_set
from tapewatch.market.instruments import NS_PER_SECOND, Market
from tapewatch.market.tables.labels import HUMAN_LABELS
from tapewatch.market.tables.live import AUDIT, LABELS
from tapewatch.market.tables.tape import BARRIER_LABELS, MICROSTRUCTURE, TRAINING_SET
from tapewatch.store.database.database import Database
from tapewatch.store.database.people.verdicts import give_verdict
from tapewatch.store.labelling import edges
from tapewatch.store.lake.lake import Lake
from tests.support.watched_home import BURST, DAY, FAR, INCIDENT, NEAR


def label(author: str = "ann", minutes: int = 0, symbol: str = "AAPL") -> HumanLabel:
    start, end = (time + dt.timedelta(minutes=minutes) for time in BURST)
    return HumanLabel(Market.STOCKS, symbol, start, end, "volume_spike", author, 0.9, "why")


def test_a_label_is_saved_with_its_author_and_taken_back(lake: Lake, database: Database) -> None:
    assert save(lake, database, label())
    assert not save(lake, database, label())
    assert database.read(LABELS).select("author", "kind", "confidence", "note").rows() == [
        ("ann", "volume_spike", 0.9, "why")
    ]
    with pytest.raises(LabelError, match="only its author"):
        take_back(database, label().label_id, "ben")
    assert str(take_back(database, label().label_id, "ann")) == str(label())
    assert database.read(LABELS).is_empty()
    assert database.read(AUDIT)["action"].to_list() == ["label", "unlabel"]


def test_what_the_tape_does_not_hold_is_refused(lake: Lake, database: Database) -> None:
    for bad, why in ((label(minutes=120), "the tape of that day runs"), (label(symbol="TSLA"), "holds no TSLA")):
        with pytest.raises(LabelError, match=why):
            save(lake, database, bad)
    assert save(lake, database, label())
    with pytest.raises(LabelError, match="overlaps"):
        save(lake, database, label(minutes=1))
    assert save(lake, database, label("ben", minutes=1))
    assert database.read(LABELS).height == 2


def test_rough_edges_are_tightened_to_the_burst(lake: Lake) -> None:
    start, end = BURST[0] - dt.timedelta(seconds=50), BURST[1] + dt.timedelta(seconds=40)
    refined = edges(lake, HumanLabel(Market.STOCKS, "AAPL", start, end, "unusual", "ann"))
    assert refined.start is not None
    assert refined.end is not None
    for edge, true in ((refined.start, BURST[0]), (refined.end, BURST[1])):
        assert abs(edge.time_ns / NS_PER_SECOND - true.timestamp()) <= max(edge.uncertainty_s, 4.0)


def test_the_queue_begins_at_the_threshold_and_leaves_out_what_was_judged(lake: Lake, database: Database) -> None:
    assert queue(database, "ann")["id"].to_list() == [NEAR, INCIDENT, FAR]
    give_verdict(database, NEAR, verdict="dismissed", author="ben")
    assert queue(database, "ann")["id"].to_list() == [INCIDENT, FAR]
    save(lake, database, label())
    assert queue(database, "ann")["id"].to_list() == [FAR]
    assert queue(database, "ben")["id"].to_list() == [INCIDENT, FAR]
    assert own_labels(database, "ann").height == 1


def test_the_minutes_that_people_judged_are_a_file_once_collected(lake: Lake, database: Database) -> None:
    save(lake, database, label())
    rows = database.read(LABELS)
    assert said_minutes(lake, rows).is_empty()
    empty = dict.fromkeys(("refined_start", "refined_end", "refined_start_s", "refined_end_s"))
    frame = HUMAN_LABELS.conform(
        rows.with_columns(known_time="created_time", **{n: pl.lit(v) for n, v in empty.items()})
    )
    lake.write(
        TRAINING_SET, DAY, build_training_set(lake.read(MICROSTRUCTURE, DAY), BARRIER_LABELS.empty(), None, frame)
    )
    found = said_minutes(lake, rows)
    assert found["event_time"].to_list() == [BURST[0] + dt.timedelta(minutes=minute) for minute in range(3)]
    assert set(found["human_kind"].cast(pl.String)) == {"volume_spike"}
