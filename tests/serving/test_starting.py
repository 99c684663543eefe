"""What keeps `python -m serving` from starting is named, with the way out, and the exit code is not 0."""

import shutil
import sys
from collections import namedtuple
from pathlib import Path

import pytest
import sqlalchemy as sa

from serving.__main__ import main
from tapewatch.store.database.database import Database
from tapewatch.store.durable import LEAST_FREE_BYTES
from tests.support.ports import free_port


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["serving"])
    monkeypatch.setenv("TAPEWATCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_secret_that_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TAPEWATCH_HOST", "0.0.0.0")  # noqa: S104
    assert main() == 1
    assert "set TAPEWATCH_TOKEN to a secret" in capsys.readouterr().out


def test_a_full_volume(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Path) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2**40, 2**40, LEAST_FREE_BYTES - 1))
    assert main() == 1
    assert f"Error: the volume of {home} is full: 256 MiB are free" in capsys.readouterr().out


def test_a_database_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    address = f"postgresql://me:hunter2@127.0.0.1:{free_port()}/tapes"  # pragma: allowlist secret
    monkeypatch.setenv("TAPEWATCH_DATABASE_URL", address)
    assert main() == 1
    said = capsys.readouterr().out
    assert "Error: TAPEWATCH_DATABASE_URL: database postgresql+psycopg2://me:***@" in said
    assert said.endswith("start the server, or correct the address\n")
    assert "hunter2" not in said


def test_a_schema_of_a_newer_version(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home.mkdir()
    with Database(f"sqlite:///{home}/tapewatch.db") as database, database.engine.begin() as connection:
        connection.execute(sa.text("UPDATE tapewatch_version SET version_num = '9999'"))
    assert main() == 1
    said = capsys.readouterr().out
    assert "is at revision 9999, newer than this Tapewatch's" in said
    assert said.endswith("Update Tapewatch, or point TAPEWATCH_DATABASE_URL at another database\n")


def test_a_bucket_that_cannot_be_read_where_the_home_has_no_bento(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TAPEWATCH_BENTOS_URL", str(tmp_path / "file"))
    assert main() == 1
    assert f"Error: TAPEWATCH_BENTOS_URL: {tmp_path}/file cannot be read" in capsys.readouterr().out
