"""Days on which clocks or names change, and a second collector. `make reliability` has the full counts."""

from pathlib import Path

import pytest

from tests.reliability import troubles

pytestmark = pytest.mark.slow


def test_the_wall_clock_may_jump(tmp_path: Path) -> None:
    outcome = troubles.clock_jumps(tmp_path, 5)
    assert outcome.is_survived, outcome.row


@pytest.mark.parametrize("day", troubles.DST_DAYS[::3], ids=str)
def test_changes_to_and_from_summer_time(tmp_path: Path, day: object) -> None:
    outcome = troubles.short_night(tmp_path, day)
    assert outcome.is_survived, outcome.row


def test_a_symbol_may_change_its_name(tmp_path: Path) -> None:
    outcome = troubles.renamed_symbol(tmp_path)
    assert outcome.is_survived, outcome.row


def test_a_second_collector_refuses(tmp_path: Path) -> None:
    assert "stop it, or set TAPEWATCH_HOME" in troubles.second_collector(tmp_path)
