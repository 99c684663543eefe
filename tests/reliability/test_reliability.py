"""The scenarios in short: a few rounds each. `make reliability` has the full counts."""

from pathlib import Path

import pytest

from tests.reliability import faults, kills, troubles

pytestmark = pytest.mark.slow

_FAULT_ROUNDS = 3
#: Many, so that some fall into the very first batch.
_ROUNDS_OF = {"malformed_json": 50}


def test_killed_processes_lose_and_double_nothing(tmp_path: Path) -> None:
    outcome = kills.kills(tmp_path, 6)
    assert outcome.found.is_none, outcome.row


@pytest.mark.parametrize("kind", faults.STREAM_FAULTS)
def test_faults_of_the_stream_are_healed(tmp_path: Path, kind: str) -> None:
    outcome = faults.stream_fault(tmp_path, kind, _ROUNDS_OF.get(kind, _FAULT_ROUNDS))
    assert outcome.rounds >= _FAULT_ROUNDS
    assert outcome.found.is_none, outcome.row


@pytest.mark.parametrize("kind", faults.REST_FAULTS)
def test_faults_of_rest_do_not_stop_the_healer(tmp_path: Path, kind: str) -> None:
    outcome = faults.rest_fault(tmp_path, kind, _FAULT_ROUNDS)
    assert outcome.rounds >= 1
    assert outcome.found.is_none, outcome.row


def test_postgresql_may_restart(tmp_path: Path) -> None:
    outcome = troubles.postgres_restarts(tmp_path, 2)
    assert outcome.found.is_none, outcome.row


def test_sqlite_may_be_locked(tmp_path: Path) -> None:
    outcome = troubles.sqlite_locks(tmp_path, 2)
    assert outcome.found.is_none, outcome.row


def test_the_spools_disk_may_be_full(tmp_path: Path) -> None:
    try:
        outcome = troubles.full_disk(tmp_path, 1)
    except PermissionError as refusal:
        pytest.skip(f"only root can make a small disk: {refusal}")
    assert outcome.found.is_none, outcome.row


def test_the_wall_clock_may_jump(tmp_path: Path) -> None:
    outcome = troubles.clock_jumps(tmp_path, 5)
    assert outcome.found.is_none, outcome.row


@pytest.mark.parametrize("day", troubles.DST_DAYS, ids=str)
def test_nights_in_which_clocks_are_changed(tmp_path: Path, day: object) -> None:
    outcome = troubles.short_night(tmp_path, day)
    assert outcome.found.is_none, outcome.row


def test_a_symbol_may_change_its_name(tmp_path: Path) -> None:
    outcome = troubles.renamed_symbol(tmp_path)
    assert outcome.found.is_none, outcome.row


def test_a_second_collector_refuses(tmp_path: Path) -> None:
    assert "stop it, or set TAPEWATCH_HOME" in troubles.second_collector(tmp_path)
