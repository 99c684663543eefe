"""The full counts: `python -m tests.reliability > docs/reliability.md`, about an hour. `--rounds` and `--only` for less."""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.reliability import faults, kills, troubles
from tests.reliability.scenario import Outcome

_HEADER = """\
# Reliability

What the live side survives, by `make reliability`. Each scenario plays a day of the synthetic market through the emulator's
WebSocket into a real collector, lets healer and ingest runs come to rest, and compares every trade of the lake with those that
happened: none lost, none double, none wrong.

| what befell it | times | the lake against the truth | verdict | |
|---|--:|---|---|---|
"""


def scenarios(home: Path, kill_rounds: int, rounds: int) -> Iterator[tuple[str, Callable[[], list[Outcome]]]]:
    """Every scenario by name, to be called."""
    yield "kills", lambda: [kills.kills(home / "kills", kill_rounds)]
    for kind in faults.STREAM_FAULTS:
        yield kind, lambda kind=kind: [faults.stream_fault(home / kind, kind, rounds)]
    for kind in faults.REST_FAULTS:
        yield kind, lambda kind=kind: [faults.rest_fault(home / kind, kind, rounds)]
    few = max(1, rounds // 5)
    yield "postgres", lambda: [troubles.postgres_restarts(home / "postgres", few)]
    yield "sqlite", lambda: [troubles.sqlite_locks(home / "sqlite", few)]
    yield "disk", lambda: [troubles.full_disk(home / "disk", 1)]
    yield "clock", lambda: [troubles.clock_jumps(home / "clock", rounds)]
    yield "nights", lambda: [troubles.short_night(home / f"{day.date}", day) for day in troubles.DST_DAYS]
    yield "rename", lambda: [troubles.renamed_symbol(home / "rename")]


def main() -> int:
    """Run them, a row each as they end; the exit status says whether all were survived."""
    parser = argparse.ArgumentParser("python -m tests.reliability", description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="processes to kill")
    parser.add_argument("--rounds", type=int, default=50, help="of every fault")
    parser.add_argument("--only", action="append", default=[], help="a scenario's name; may be given several times")
    given = parser.parse_args()
    sys.stdout.write(_HEADER)
    is_sound = True
    with tempfile.TemporaryDirectory(prefix="tapewatch-reliability-") as folder:
        for name, scenario in scenarios(Path(folder), given.kills, given.rounds):
            if given.only and name not in given.only:
                continue
            began = time.monotonic()
            for outcome in scenario():
                is_sound &= outcome.found.is_none
                sys.stdout.write(outcome.row + "\n")
                sys.stdout.flush()
            sys.stderr.write(f"{name}: {time.monotonic() - began:.0f} s\n")
    with tempfile.TemporaryDirectory(prefix="tapewatch-reliability-") as folder:
        said = troubles.second_collector(Path(folder)).partition("CRITICAL ")[2].replace(folder, "…")
    sys.stdout.write(f"\nA second collector of a market, started by mistake, refuses: `{said}`\n")
    return 0 if is_sound else 1


if __name__ == "__main__":
    sys.exit(main())
