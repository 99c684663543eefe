"""Killed processes, in a few rounds. `make reliability` has the full counts."""

from pathlib import Path

import pytest

from tests.reliability import kills, paper

pytestmark = pytest.mark.slow


def test_killed_processes_lose_and_double_nothing(tmp_path: Path) -> None:
    outcome = kills.kills(tmp_path, 6)
    assert outcome.is_survived, outcome.row


@pytest.mark.parametrize("name", paper.SUBJECTS)
def test_killed_paper_accounts_end_as_undisturbed_ones(name: str, tmp_path: Path) -> None:
    outcome = paper.kills(tmp_path, 4, name)
    assert outcome.is_survived, outcome.row
