"""Every detector's score says once in how many hours ordinary tape reaches it; counted here by hand."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.base import Detector
from models.calibration.storage import LEVELS
from models.ensemble.storage import member_folders
from models.loading import load_detector
from models.manifest import MANIFEST_NAME
from models.served.loading import load_row_scorer, write_graphs
from models.served.minutes import Minutes
from tests.support.detectors import fitted_ensemble, ordinary_rows

HOURS = 6.5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved ensemble with what serves it."""
    target = tmp_path_factory.mktemp("levels")
    fitted_ensemble().save(target)
    write_graphs(target, target)
    return target


def peaks(hours: list[float], least: float) -> int:
    """Clusters of minutes at or above `least`: a minute counts if none of the ten before or after it counts and is rarer."""
    taken: list[int] = []
    for at in sorted(range(len(hours)), key=lambda at: -hours[at]):
        if hours[at] >= least and all(abs(at - other) > 10 for other in taken):
            taken.append(at)
    return len(taken)


def test_ordinary_tape_reaches_a_level_as_often_as_it_says(folder: Path) -> None:
    detector: Detector = load_detector(member_folders(folder)[0])
    rows = ordinary_rows()
    hours = detector.hours_between(detector.held_out_scores(rows), rows["symbol"])
    assert hours is not None
    by_day = rows.select("symbol", pl.col("event_time").dt.date(), hours=pl.Series(hours))
    days = by_day.partition_by("symbol", "event_time", maintain_order=True)
    for least in (0.65, HOURS):
        found = sum(peaks(day["hours"].to_list(), least) for day in days)
        expected = rows.height / 60 / least
        assert abs(found - expected) <= max(2, 0.2 * expected), (found, expected)


def test_a_saved_and_a_served_detector_say_the_same(folder: Path) -> None:
    rows = ordinary_rows(9).head(200)
    strangers = rows.head(20).with_columns(symbol=pl.lit("X:BTC-USD", pl.Categorical))
    rows = pl.concat([rows, strangers])
    for place in member_folders(folder):
        detector, served = load_detector(place), load_row_scorer(place)
        minutes = Minutes.of_frame(rows, served.features)
        own = detector.hours_between(detector.score(rows), rows["symbol"])
        found = served.hours(served.score(minutes), minutes)
        assert own is not None
        assert found is not None
        assert found == pytest.approx(own, rel=1e-3)
        assert np.isfinite(found).all()


def test_a_detector_of_an_earlier_training_has_none(folder: Path, tmp_path: Path) -> None:
    place = member_folders(folder)[0]
    for file in place.iterdir():
        if file.name != LEVELS:
            (tmp_path / file.name).write_bytes(file.read_bytes())
    manifest = json.loads((tmp_path / MANIFEST_NAME).read_text())
    del manifest["files"][LEVELS]
    (tmp_path / MANIFEST_NAME).write_text(json.dumps(manifest))
    rows = ordinary_rows(9).head(5)
    detector, served = load_detector(tmp_path), load_row_scorer(tmp_path)
    assert detector.hours_between(detector.score(rows), rows["symbol"]) is None
    assert served.hours(np.zeros(5), Minutes.of_frame(rows, served.features)) is None
