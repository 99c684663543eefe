"""Killed processes, in a few rounds. `make reliability` has the full counts."""

from pathlib import Path

import pytest

from tests.reliability import kills, paper

pytestmark = pytest.mark.slow


def test_killed_processes_lose_and_double_nothing(tmp_path: Path) -> None:
    outcome = kills.kills(tmp_path, 6)
    assert outcome.is_survived, outcome.row


def test_killed_brokers_end_as_undisturbed_ones(tmp_path: Path) -> None:
    killed, resting, differing = paper.kills(tmp_path, 4)
    assert differing == []
    assert killed == 4
    assert resting > 0
