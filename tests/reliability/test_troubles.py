"""Failures of databases and disks, in a round or two. `make reliability` has the full counts."""

from pathlib import Path

import pytest

from tests.reliability import troubles

pytestmark = pytest.mark.slow


def test_postgresql_may_restart(tmp_path: Path) -> None:
    outcome = troubles.postgres_restarts(tmp_path, 1)
    assert outcome.is_survived, outcome.row


def test_sqlite_may_be_locked(tmp_path: Path) -> None:
    outcome = troubles.sqlite_locks(tmp_path, 2)
    assert outcome.is_survived, outcome.row


def test_the_spools_disk_may_be_full(tmp_path: Path) -> None:
    try:
        outcome = troubles.full_disk(tmp_path, 1)
    except PermissionError as refusal:
        pytest.skip(f"only root can make a small disk: {refusal}")
    assert outcome.is_survived, outcome.row
