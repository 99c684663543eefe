"""SIGKILL of a paper account's process at random moments: `python -m tests.reliability.paper [broker|trader] [KILLS]`, 100 by default.

The broker trades orders of every kind, half of which rest; the trader follows alerts, and sends the orders itself.
"""

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tapewatch.store.database.database import Database
from tapewatch.trading.engine import Tape
from tapewatch.trading.paper.broker import PaperBroker
from tapewatch.trading.paper.ledger import open_account, send
from tests.reliability.desk import CHECKOUT, PATIENCE_S
from tests.support import followed_day
from tests.support.paper import ACCOUNT, END, LIMITS, SETTINGS, recorded_day, state_of

#: Seconds between a process's first step and its kill.
_LIFETIME_S = (0.0, 1.0)


@dataclass(frozen=True)
class Subject:
    """A process that trades a recorded day, and how a test makes the day and trades it undisturbed."""

    module: str
    prepare: Callable[[Database, int], None]
    trade: Callable[[Database, int], object]


def _orders_of(database: Database, seed: int) -> None:
    open_account(database, ACCOUNT, SETTINGS, is_bars=True)
    send(database, ACCOUNT, recorded_day(seed)[1])


def _brokered(database: Database, seed: int) -> None:
    PaperBroker(database, ACCOUNT, SETTINGS, LIMITS).process(Tape.of_bars(recorded_day(seed)[0]), END)


SUBJECTS = {
    "broker": Subject("tests.support.paper", _orders_of, _brokered),
    "trader": Subject("tests.support.followed_day", followed_day.recorded, followed_day.followed),
}


def kills(home: Path, wanted: int, name: str = "broker") -> tuple[int, int, list[str]]:
    """Replay days until so many processes were killed.

    Returns: kills, those with an open order, and the tables that differ from those of an undisturbed process.
    """
    subject = SUBJECTS[name]
    chance = random.Random(wanted)  # noqa: S311 - moments, not secrets
    killed = resting = seed = 0
    differing: list[str] = []
    while killed < wanted:
        seed += 1
        url, other = (f"sqlite:///{home / f'{name} {kind} {seed}.db'}" for kind in ("killed", "undisturbed"))
        with Database(url) as database:
            subject.prepare(database, seed)
        while killed < wanted and _killed(subject, url, seed, chance.uniform(*_LIFETIME_S)):
            killed += 1
            with Database(url) as database:
                resting += bool(state_of(database)["paper_orders"]["state"].is_in(["open", "waiting"]).any())
        _run(subject, url, seed)
        with Database(other) as database:
            subject.prepare(database, seed)
            subject.trade(database, seed)
            expected = state_of(database)
        with Database(url) as database:
            found = state_of(database)
        differing += [f"day {seed}: {table}" for table in expected if not found[table].equals(expected[table])]
    return killed, resting, differing


def _command(subject: Subject, url: str, seed: int) -> list[str]:
    return [sys.executable, "-m", subject.module, url, str(seed)]


def _killed(subject: Subject, url: str, seed: int, after_s: float) -> bool:
    """Kill a process so long after its first step; False if it was done before."""
    with subprocess.Popen(_command(subject, url, seed), cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(after_s)
        process.kill()
        return "done" not in process.stdout.read()


def _run(subject: Subject, url: str, seed: int) -> None:
    subprocess.run(_command(subject, url, seed), cwd=CHECKOUT, check=True, capture_output=True, timeout=PATIENCE_S)


def main() -> int:
    """Print the counts; the exit status is 0 if no table differs."""
    given = sys.argv[1:]
    names = [name for name in SUBJECTS if name in given] or list(SUBJECTS)
    wanted = next((int(text) for text in given if text.isdigit()), 100)
    failed = 0
    for name in names:
        with tempfile.TemporaryDirectory(prefix="tapewatch-paper-") as folder:
            killed, resting, differing = kills(Path(folder), wanted, name)
        verdict = "FAILED: " + ", ".join(differing) if differing else "every account equals the undisturbed one"
        sys.stdout.write(f"{killed} {name}s killed, {resting} of them with open orders: {verdict}\n")
        failed += bool(differing)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
