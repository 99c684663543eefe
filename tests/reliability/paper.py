"""SIGKILL of a paper account's process at random moments, and its account against one that was not disturbed.

The broker trades orders of every kind, half of which rest; the trader follows alerts, and sends the orders itself.
"""

import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tapewatch.store.database.database import Database
from tapewatch.trading.engine import Tape
from tapewatch.trading.paper.broker import PaperBroker
from tapewatch.trading.paper.ledger import open_account, send
from tests.reliability.desk import CHECKOUT, PATIENCE_S
from tests.reliability.scenario import Outcome
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


@dataclass(frozen=True)
class Accounts:
    """How killed accounts differ from undisturbed ones: `differing` names days and tables, and should be empty."""

    days: int
    rows: int
    differing: tuple[str, ...]

    @property
    def is_none(self) -> bool:
        """Whether every table of every account equals that of an account that was not disturbed."""
        return not self.differing

    def __str__(self) -> str:
        found = ", ".join(self.differing) or "0 differ"
        return f"{self.rows:,} rows of {self.days} accounts against undisturbed ones: {found}"


def kills(home: Path, wanted: int, name: str = "broker") -> Outcome:
    """Replay days until so many processes were killed, at moments that a seed gives."""
    subject = SUBJECTS[name]
    chance = random.Random(wanted)  # noqa: S311 - moments, not secrets
    killed = resting = seed = rows = 0
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
        rows += sum(frame.height for frame in expected.values())
        differing += [f"{table} of day {seed}" for table in expected if not found[table].equals(expected[table])]
    accounts = Accounts(seed, rows, tuple(differing))
    return Outcome(f"SIGKILL of paper {name}s", killed, wanted, accounts, f"{resting} with open orders")


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
