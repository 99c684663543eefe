"""The champion of minutes in a collector's thread: gaps, moves of the champion, faults, and the challenger in the shadow."""

import datetime as dt
import logging
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from models.base import Detector
from models.loading import load_detector
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Market, Partition
from tapewatch.market.schema import Table
from tapewatch.market.tables.live import ALERTS, SHADOW_MINUTES
from tapewatch.streaming.collector.judges.detectors import Detectors, opened_by
from tapewatch.streaming.collector.judges.minutes import MinuteJudge, Said
from tapewatch.streaming.detection.champion import CHALLENGER, MINUTES, Champions, file_of, publish
from tapewatch.streaming.detection.events import Events
from tapewatch.streaming.detection.findings import CHAMPION
from tapewatch.streaming.detection.rules.settings import DetectionConfig
from tapewatch.streaming.detection.shadow import shadow_report
from tapewatch.streaming.detection.watch import Watch
from tests.support.ensembles import ensemble
from tests.support.scans import tape

DAY = Partition(dt.date(2024, 3, 7), Market.STOCKS)
START = DAY.session.regular_start


def minute(at: int) -> pl.DataFrame:
    """The rows of a regular minute of `DAY`."""
    day = tape(3)
    assert day.session.regular_start == START
    return day.features.filter(pl.col("event_time").dt.epoch("ns") == START + at * NS_PER_MINUTE)


def end_of(at: int) -> int:
    return START + (at + 1) * NS_PER_MINUTE


class Files:
    """A folder of champions, and the judge that reads it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.written = folder, [SHADOW_MINUTES.empty()]
        self.champions: Champions[Detector] = Champions(file_of(folder, MINUTES), load_detector, what="champion")
        self.challengers: Champions[Detector] = Champions(
            file_of(folder, CHALLENGER), load_detector, what="challenger", may_go=True
        )
        self.judge = MinuteJudge(Market.STOCKS, self.champions, self.challengers, self._write)
        self.judge.start()

    def _write(self, table: Table, day: Partition, rows: pl.DataFrame) -> None:
        table.check(rows)
        assert day == DAY
        self.written.append(rows)

    def publish(self, detector: Detector, model: str, name: str = MINUTES) -> None:
        publish(detector, model, file_of(self.folder, name))
        self.look()

    def look(self) -> None:
        self.champions.look()
        self.challengers.look()

    def play(self, *minutes: int) -> list[Said]:
        """What is found in these minutes of the day."""
        for at in minutes:
            self.judge.put(DAY, minute(at), end_of(at))
        self.wait()
        return self.judge.take()

    def wait(self) -> None:
        self.judge.close()
        self.judge._thread = type(self.judge._thread)(target=self.judge._run, daemon=True)
        self.judge.start()


@pytest.fixture
def files(tmp_path: Path) -> "Callable[[], Files]":
    made = Files(tmp_path)
    yield made
    made.judge.close()


@pytest.mark.long
def test_without_a_champion_nothing_is_judged_and_from_its_arrival_every_minute_is(files: Files) -> None:
    assert files.play(*range(20)) == []
    assert files.judge.figures()["minute_model"] == ""
    files.publish(ensemble(), "ensemble/4")
    found = files.play(*range(20, 130))
    assert files.judge.figures() == {
        "minute_model": "ensemble/4",
        "is_minute_model_stale": False,
        "minute_members_absent": 0,
        "minutes_scored": 110 * 5,
        "shadow_model": "",
        "shadow_scored": 0,
        "shadow_agreed": 0,
    }
    assert {source.model for _, source in found} == {"ensemble/4"}
    opened = [finding for finding, _ in found if finding.is_opening]
    assert opened
    # The alerts, by the one book.
    detectors = Detectors(Watch(Market.STOCKS, DetectionConfig.load()), events=Events(Market.STOCKS))
    changes = [change for each, source in found for change in detectors._events.of_model([each], source)]
    assert len(opened_by(CHAMPION, changes)) >= 1
    ALERTS.check(pl.DataFrame([change.row for change in changes], schema=ALERTS.schema))
    assert {change.row["model"] for change in changes} == {"ensemble/4"}
    assert all(change.row["kind"] for change in changes)


def test_a_registry_that_goes_away_leaves_the_champion_scoring(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    files.publish(ensemble(), "ensemble/4")
    file = file_of(files.folder, MINUTES)
    whole = file.read_bytes()
    for damage in (lambda: file.write_bytes(whole[:1000]), file.unlink):
        caplog.clear()
        damage()
        with caplog.at_level(logging.WARNING):
            files.look()
            files.look()
        files.play(1)
        figures = files.judge.figures()
        assert figures["minute_model"] == "ensemble/4"
        assert figures["is_minute_model_stale"]
        assert len(caplog.records) <= 1
    assert figures["minutes_scored"] == 10
    files.publish(ensemble(hours=4.0), "ensemble/5")
    files.play(2)
    figures = files.judge.figures()
    assert (figures["minute_model"], figures["is_minute_model_stale"]) == ("ensemble/5", False)


def test_minutes_of_a_gap_are_not_judged_and_as_many_after_it(files: Files) -> None:
    files.publish(ensemble(), "ensemble/4")
    files.play(0, 1, 2)
    files.judge.lost(end_of(2) + 10 * NS_PER_SECOND)
    files.play(3, 4, 5)
    assert files.judge.scored == 15
    # Five minutes were lost: the features read that silence.
    files.judge.heard(end_of(7) + 10 * NS_PER_SECOND)
    files.judge.heard(end_of(8))
    files.play(*range(6, 16))
    assert files.judge.scored == 15 + 2 * 5


@pytest.mark.long
@pytest.mark.parametrize(("since", "first_minute", "judged"), [(0, 0.02, 60), (0, 10.0, 40), (-(10**14), 50.0, 0)])
def test_a_start_within_the_session_waits_as_long_as_was_missed(
    files: Files, since: int, first_minute: float, judged: int
) -> None:
    files.publish(ensemble(), "ensemble/4")
    files.judge.lost(max(0, START + since) if since else 0)
    files.judge.heard(START + int(first_minute * NS_PER_MINUTE))
    files.play(*range(60))
    # The half hour before is known half an hour after a late start.
    assert files.judge.scored == 5 * judged


def test_a_night_without_a_collector_is_no_gap(files: Files) -> None:
    files.publish(ensemble(), "ensemble/4")
    files.judge.lost(START - 17 * 60 * NS_PER_MINUTE)
    files.judge.heard(START - 30 * NS_PER_MINUTE)
    files.play(0, 1)
    assert files.judge.scored == 10


@pytest.mark.long
def test_the_challenger_scores_in_the_shadow_and_raises_nothing(files: Files) -> None:
    files.publish(ensemble(), "ensemble/4")
    files.publish(ensemble(hours=0.5), "ensemble/5", CHALLENGER)
    found = files.play(*range(60, 130))
    assert {source.model for _, source in found} <= {"ensemble/4"}
    rows = pl.concat(files.written)
    assert set(rows["challenger"]) == {"ensemble/5"}
    report = shadow_report(rows)
    assert (report.hours, report.symbol_minutes) == (70 / 60, 350)
    # The same scores, with a lower threshold.
    assert report.challenger_alerts > report.champion_alerts
    assert report.gained > 0 == report.lost
    figures = files.judge.figures()
    assert figures["shadow_scored"] == 350 > figures["shadow_agreed"] == round(350 * report.agreement)
    file_of(files.folder, CHALLENGER).unlink()
    files.look()
    files.play(130)
    assert files.judge.figures()["shadow_model"] == ""
    assert pl.concat(files.written).height == 70


def test_a_champion_that_fails_is_off_until_there_is_another(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    files.publish(ensemble(), "ensemble/4")
    files.play(1)
    with caplog.at_level(logging.ERROR):
        files.judge.put(DAY, minute(2).drop("volume_ratio"), end_of(2))
        files.wait()
    assert "the champion ensemble/4 failed and is off" in caplog.text
    assert files.play(3) == []
    assert files.judge.scored == 5
    files.publish(ensemble(), "ensemble/5")
    files.play(4)
    assert files.judge.scored == 10
