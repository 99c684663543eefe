"""`tapewatch db`: output, refusals, and no deletion without confirmation."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
from typer.testing import CliRunner, Result

from orchestration.cli.app import app
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.live import AUDIT, LABELS, LIVE_BARS
from tapewatch.store.database.database import Database
from tapewatch.store.database.migrations import HEAD
from tapewatch.store.database.upkeep.status import status
from tapewatch.store.database.upkeep.timescale import FailingJob
from tests.support.live_rows import rows_of
from tests.support.postgres import PostgresServer

MONDAY = Partition(dt.date(2024, 6, 3), Market.STOCKS)
COMMANDS = ("upgrade", "status", "refresh", "retain", "backup", "restore", "move")


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address in the commands' environment; there is no database yet."""
    address = f"sqlite:///{tmp_path / 'home' / 'tapewatch.db'}"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAPEWATCH_DATABASE_URL", address)
    monkeypatch.setenv("COLUMNS", "160")
    return address


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    with Database(url) as opened:
        opened.upsert(LIVE_BARS, MONDAY, rows_of(LIVE_BARS, 50))
        opened.upsert(LABELS, MONDAY, rows_of(LABELS, 3))
        yield opened


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["db", *arguments])


def said(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def refusal(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit), result.exception
    return next(line for line in result.stderr.splitlines() if line.startswith("Error: "))


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_each_command_has_an_example(command: str) -> None:
    assert f"tapewatch db {command}" in " ".join(said(command, "--help").split())


def test_upgrade_makes_a_database_that_is_then_current(url: str) -> None:
    assert "`tapewatch db upgrade` makes it" in refusal("status")
    assert f"was made: revision {HEAD}" in said("upgrade")
    assert f"is current: revision {HEAD}" in said("upgrade")
    assert f"{HEAD}, current" in said("status")


def test_the_status_lists_the_tables(database: Database) -> None:
    rows = {line.split()[0]: line.split()[1:] for line in said("status").splitlines() if line.split()}
    assert rows["bars"][0] == "50"
    assert rows["labels"][-2:] == ["for", "ever"]
    assert rows["bars"][-2:] == ["400", "days"]


@pytest.mark.parametrize(
    ("failing", "line"),
    [
        ((), "jobs none failed in its last run"),
        (
            (FailingJob("Retention Policy [1000]", 3, "2024-06-03 12:30", "disk [full]"),),
            "jobs Retention Policy [1000] failed: disk [full] (3 failures, last success 2024-06-03 12:30 UTC)",
        ),
        (
            (FailingJob("Retention Policy [1000]", 1, None, None),),
            "jobs Retention Policy [1000] failed: see the log of PostgreSQL (1 failures, never succeeded)",
        ),
    ],
)
def test_the_status_names_jobs_of_timescaledb_that_fail(
    database: Database, url: str, failing: tuple[FailingJob, ...], line: str
) -> None:
    assert "  jobs" not in said("status"), "SQLite has none"
    found = replace(status(url), failing_jobs=failing)
    with patch("orchestration.cli.databases.status", return_value=found):
        assert line in [" ".join(shown.split()) for shown in said("status").splitlines()]
    assert database.read(LIVE_BARS).height == 50


def test_nothing_is_deleted_without_yes_and_labels_only_by_name(database: Database) -> None:
    assert "repeat with --yes" in said("retain")
    assert database.read(LIVE_BARS).height == 50
    assert "50 rows deleted" in said("retain", "--yes")
    assert database.read(LIVE_BARS).height == 0
    assert database.read(LABELS).height == 3
    assert database.read(AUDIT)["subject"].to_list() == ["bars"]
    assert "Nothing is older" in said("retain", "--yes")
    assert "labels is kept for ever: say with --days" in refusal("retain", "--table", "labels", "--yes")
    assert "3 rows deleted" in said("retain", "--table", "labels", "--days", "30", "--yes")
    assert "there is no table 'quotes': the database has anomalies" in refusal("retain", "--table", "quotes")


@pytest.mark.long
def test_backup_and_restore(database: Database, tmp_path: Path) -> None:
    file = str(tmp_path / "backup.zip")
    assert "53 rows" in said("backup", file)
    assert "--replace deletes them first" in refusal("restore", file)
    assert "53 rows restored" in said("restore", file, "--replace")
    assert database.read(AUDIT)["action"].to_list() == ["restore"]
    assert database.read(LIVE_BARS).height == 50
    assert "cannot be written" in refusal("backup", f"{file}/in_a_file.zip")


def test_a_backup_replaces_no_file_unasked(database: Database, tmp_path: Path) -> None:
    file = tmp_path / "backup.zip"
    file.write_bytes(b"an earlier backup")
    assert refusal("backup", str(file)) == f"Error: {file} exists: name another file, or replace it with --force"
    assert file.read_bytes() == b"an earlier backup"
    assert "53 rows" in said("backup", str(file), "--force")
    assert database.read(LABELS).height == 3
    assert "53 rows restored" in said("restore", str(file), "--replace")


def test_a_move_needs_a_target(database: Database, url: str) -> None:
    assert "is the one to move from" in refusal("move", "--to", url)
    assert "write sqlite:///FILE or postgresql+psycopg2" in refusal("move", "--to", "elsewhere")


@pytest.mark.slow
def test_sqlite_moves_to_postgresql_in_one_command(database: Database, server: PostgresServer) -> None:
    target = server.database()
    answer = " ".join(said("move", "--to", target).split())
    assert "53 rows are in" in answer
    assert "each compared with its original" in answer
    assert "set TAPEWATCH_DATABASE_URL" in answer
    with Database(target) as moved:
        assert moved.read(LIVE_BARS).rows() == database.read(LIVE_BARS).rows()
    assert "is not empty: bars (50 rows), labels (3 rows)" in refusal("move", "--to", target)
