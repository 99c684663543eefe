"""Every fault of the emulator, in a few rounds. `make reliability` has the full counts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tapewatch.emulator.process import RunningEmulator
from tests.reliability import faults

pytestmark = pytest.mark.slow

_FAULT_ROUNDS = 3
#: Many, so that some occur in the very first batch.
_ROUNDS_OF = {"malformed_json": 50}


@pytest.fixture(scope="module")
def emulator() -> Iterator[RunningEmulator]:
    with faults.replaying() as running:
        yield running


@pytest.mark.parametrize("kind", faults.STREAM_FAULTS)
def test_faults_of_the_stream_are_healed(tmp_path: Path, emulator: RunningEmulator, kind: str) -> None:
    outcome = faults.stream_fault(tmp_path, kind, _ROUNDS_OF.get(kind, _FAULT_ROUNDS), emulator)
    assert outcome.is_survived, outcome.row


@pytest.mark.parametrize("kinds", [faults.COMBINATIONS[0], faults.COMBINATIONS[7]], ids="+".join)
def test_faults_that_meet_are_healed(tmp_path: Path, emulator: RunningEmulator, kinds: tuple[str, ...]) -> None:
    outcome = faults.combined(tmp_path, kinds, _FAULT_ROUNDS, emulator)
    assert outcome.is_survived, outcome.row


def test_corrections_that_are_lost_on_the_next_day_are_healed(tmp_path: Path) -> None:
    for outcome in faults.corrections_over_midnight(tmp_path, _FAULT_ROUNDS):
        assert outcome.is_survived, outcome.row


@pytest.mark.parametrize("kind", faults.REST_FAULTS)
def test_faults_of_rest_do_not_stop_the_healer(tmp_path: Path, emulator: RunningEmulator, kind: str) -> None:
    outcome = faults.rest_fault(tmp_path, kind, _FAULT_ROUNDS, emulator)
    assert outcome.is_survived, outcome.row
