"""The file of the scan that collectors read."""

import logging
import zipfile
from pathlib import Path

import pytest

from models.base import DetectorError
from models.scan.detector import ScanDetector
from tapewatch.features.bins.batch import bins_5s
from tapewatch.streaming.detection.champion import Champions, publish, published_model, read_champion
from tests.support.scans import detector, tape


@pytest.mark.long
def test_what_is_published_is_read_and_finds_the_same(tmp_path: Path) -> None:
    path, day = tmp_path / "champions" / "scan.zip", tape(2)
    publish(detector(), "scan/3", path)
    found = read_champion(path)
    bins = bins_5s(day.trades, day.quotes, day.session)
    assert found.model == published_model(path) == "scan/3"
    assert found.detector.incidents(bins, day.session).equals(detector().incidents(bins, day.session))
    assert [file.name for file in path.parent.iterdir()] == ["scan.zip"]


def test_a_newer_one_and_a_rollback_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "scan.zip"
    champions = Champions(path, ScanDetector.load)
    champions.look()
    assert champions.current is None
    for model in ("scan/3", "scan/4", "scan/3"):
        publish(detector(), model, path)
        champions.look()
        assert champions.current is not None
        assert champions.current.model == model
    before = champions.current
    champions.look()
    assert champions.current is before


def test_a_broken_file_is_a_warning_and_the_champion_before_it_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "scan.zip"
    publish(detector(), "scan/3", path)
    whole = path.read_bytes()
    champions = Champions(path, ScanDetector.load)
    champions.look()
    foreign = tmp_path / "foreign.zip"
    with zipfile.ZipFile(foreign, "w") as archive:
        archive.writestr("model.txt", "scan/9")
        archive.writestr("manifest.json", '{"detector": "other"}')
    for content in (b"", b"no archive", whole[: len(whole) // 2], foreign.read_bytes()):
        path.write_bytes(content)
        with pytest.raises(DetectorError, match=r"scan\.zip|manifest"):
            read_champion(path)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            champions.look()
            champions.look()
        assert len([r for r in caplog.records if "the scan is not used" in r.message]) == 1
        assert champions.current is not None
        assert champions.current.model == "scan/3"
