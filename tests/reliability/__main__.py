"""The full counts: `make reliability`, or `python -m tests.reliability > report.md`; `--rounds`, `--kills` and `--only` run less.

Each scenario is a process of its own, two at a time; rows come in order. The exit status is 0 if all were survived.
"""

import argparse
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.reliability import faults, kills, markets, paper, replica, scoring, troubles
from tests.reliability.desk import CHECKOUT
from tests.reliability.scenario import FAILED, Outcome

_AT_A_TIME = 2
_SOAK_S = 300.0
#: Longer than any scenario takes: one that hangs must not block the report.
_LONGEST_S = 1_800.0
_SECOND = "second"
_HEADER = """\
# Reliability

The failures that the live side survives, by `make reliability`. Each scenario replays a day of the synthetic market through
the emulator's WebSocket into a real collector, runs healer and ingest until nothing is left to do, and compares every trade
of the lake with the true ones: none lost, none double, none wrong. "times" counts the failures that occurred; a scenario with
fewer than asked for has FAILED. Faults of messages are counted symbol by symbol and channel by channel, and so occur more
often than asked.

`scoring` asks the scoring service instead, at 70 % of what it answers at most, and compares every answer with the scores of the version that it names. Only
requests under way at a killed worker may fail, one a connection.

`paper` kills the process of a paper account instead: the broker with orders of every kind, half of which rest, and the trader that follows alerts. Each
account is compared, row by row of every table, with one that traded the same day undisturbed.

`six markets` runs features, training, evaluation and backtests of all markets on a Dask cluster over S3 and PostgreSQL, and kills a worker in each
of these jobs but the training. Every object of the lake and every file of a detector is compared, byte for byte, with those of one process; only ids and addresses may differ.

`machine lost` kills litestream during 200 writes a second to a SQLite database, and restores that from its bucket.

Kills at random moments test only the moments that they hit. The tests also kill at every durable step in turn: each rename,
sync, deletion and saved gap, in made-up histories of collectors (`tests/streaming/collector/test_lives.py`), in ingest and
healer (`test_ingest_kills.py`, `test_healer_kills.py`).

| failure | times | what was found against the truth | verdict | |
|---|--:|---|---|---|
"""

Scenario = Callable[[Path], list[Outcome]]


def scenarios(kill_rounds: int, rounds: int) -> dict[str, Scenario]:
    """Every scenario by name; each is called with its own folder."""
    few = max(1, rounds // 5)
    return {
        "kills": lambda home: [kills.kills(home, kill_rounds)],
        **{
            kind: lambda home, kind=kind: [faults.stream_fault(home, kind, rounds)]  # type: ignore[misc]
            for kind in faults.STREAM_FAULTS
        },
        **{
            kind: lambda home, kind=kind: [faults.rest_fault(home, kind, rounds)]  # type: ignore[misc]
            for kind in faults.REST_FAULTS
        },
        **{
            "+".join(kinds): lambda home, kinds=kinds: [faults.combined(home, kinds, few)]  # type: ignore[misc]
            for kinds in faults.COMBINATIONS
        },
        "midnight": lambda home: faults.corrections_over_midnight(home, few),
        "postgres": lambda home: [troubles.postgres_restarts(home, few)],
        "sqlite": lambda home: [troubles.sqlite_locks(home, few)],
        "disk": lambda home: [troubles.full_disk(home, few)],
        "clock": lambda home: [troubles.clock_jumps(home, rounds)],
        "nights": lambda home: [troubles.short_night(home / str(day), day) for day in troubles.DST_DAYS],
        # A longer soak: `python -m tests.reliability.scoring --minutes 30`.
        "scoring": lambda home: [scoring.outcome(home, _SOAK_S)],
        **{
            f"paper {name}": lambda home, name=name: [paper.kills(home, kill_rounds, name)]  # type: ignore[misc]
            for name in paper.SUBJECTS
        },
        "rename": lambda home: [troubles.renamed_symbol(home)],
        "markets": lambda home: [markets.six_markets(home)],
        "litestream": lambda home: [replica.kills(home, few)],
    }


def main() -> int:
    """Run the chosen scenarios, each in its own process, or with `--here` one in this process."""
    parser = argparse.ArgumentParser("python -m tests.reliability", description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="processes to kill")
    parser.add_argument("--rounds", type=int, default=50, help="of every fault")
    parser.add_argument("--only", action="append", default=[], help="a scenario's name; may be given several times")
    parser.add_argument("--here", help=argparse.SUPPRESS)
    given = parser.parse_args()
    known = scenarios(given.kills, given.rounds)
    if given.here:
        return _run_here(given.here, known)
    if unknown := set(given.only) - {*known, _SECOND}:
        parser.error(f"there is no scenario {', '.join(sorted(unknown))}: choose from {', '.join((*known, _SECOND))}")
    chosen = [name for name in (*known, _SECOND) if not given.only or name in given.only]
    return _report(chosen, ["--kills", str(given.kills), "--rounds", str(given.rounds)])


def _report(chosen: Sequence[str], options: Sequence[str]) -> int:
    began, is_sound = time.monotonic(), True
    _write(_HEADER)
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        for report, is_survived in pool.map(lambda name: _run_apart(name, options), chosen):
            is_sound &= is_survived
            _write(report)
    sys.stderr.write(f"all: {time.monotonic() - began:.0f} s, {'survived' if is_sound else FAILED}\n")
    return 0 if is_sound else 1


def _run_apart(name: str, options: Sequence[str]) -> tuple[str, bool]:
    """Run a scenario in its own process; returns its report, and whether it was survived."""
    began = time.monotonic()
    command = [sys.executable, "-m", "tests.reliability", "--here", name, *options]
    try:
        done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=_LONGEST_S, check=False)
    except subprocess.TimeoutExpired:
        report, why, status = "", f"no end within {_LONGEST_S:.0f} s", 1
    else:
        errors = [line for line in done.stderr.splitlines() if "Error" in line] or ["it ended without a message"]
        report, why, status = done.stdout, errors[-1], done.returncode
    sys.stderr.write(f"{name}: {time.monotonic() - began:.0f} s{f', {why}' if status else ''}\n")
    sys.stderr.flush()
    return report or f"| {name} | 0 | not compared | {FAILED} | {why.replace('|', '/')} |\n", status == 0


def _run_here(name: str, known: dict[str, Scenario]) -> int:
    logging.disable(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="tapewatch-reliability-") as folder:
        if name == _SECOND:
            refusal = troubles.second_collector(Path(folder)).partition("CRITICAL ")[2].replace(folder, "…")
            _write(f"\nA second collector of a market, started by mistake, refuses: `{refusal}`\n")
            return 0 if refusal else 1
        outcomes = known[name](Path(folder))
    _write("".join(outcome.row + "\n" for outcome in outcomes))
    return 0 if all(outcome.is_survived for outcome in outcomes) else 1


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
