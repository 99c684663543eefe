"""SIGKILL of a paper account's process at random moments, and its account against one that was not disturbed.

The broker trades orders of every kind, half of which rest; the trader follows alerts, and sends the orders itself.
"""

import multiprocessing
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from tapewatch.store.database.database import Database
from tapewatch.trading.engine import Tape
from tapewatch.trading.paper.broker import PaperBroker
from tapewatch.trading.paper.ledger import open_account, send
from tests.reliability.desk import PATIENCE_S
from tests.reliability.scenario import Outcome
from tests.support import followed_day, paper
from tests.support.paper import ACCOUNT, END, LIMITS, SETTINGS, recorded_day, state_of

#: Messages of a process after which it is killed, and seconds after the last of them.
_MESSAGES, _AFTER_S = (0, 7), (0.0, 0.1)
#: A server that has imported everything makes each process in a fraction of a second.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload([followed_day.__name__, paper.__name__])
Say = Callable[[str], None]


@dataclass(frozen=True)
class Subject:
    """Work of a process that trades a recorded day, and how a test makes the day and trades it undisturbed."""

    work: Callable[[str, int, Say], None]
    prepare: Callable[[Database, int], None]
    trade: Callable[[Database, int], object]


def _orders_of(database: Database, seed: int) -> None:
    open_account(database, ACCOUNT, SETTINGS, is_bars=True)
    send(database, ACCOUNT, recorded_day(seed)[1])


def _brokered(database: Database, seed: int) -> None:
    PaperBroker(database, ACCOUNT, SETTINGS, LIMITS).process(Tape.of_bars(recorded_day(seed)[0]), END)


SUBJECTS = {
    "broker": Subject(paper.work, _orders_of, _brokered),
    "trader": Subject(followed_day.work, followed_day.begun, followed_day.followed),
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
        while killed < wanted and _killed(name, url, seed, chance.randint(*_MESSAGES), chance.uniform(*_AFTER_S)):
            killed += 1
            with Database(url) as database:
                resting += bool(state_of(database)["paper_orders"]["state"].is_in(["open", "waiting"]).any())
        _finish(name, url, seed)
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


def _started(name: str, url: str, seed: int) -> "tuple[multiprocessing.process.BaseProcess, Connection]":
    """A process at work, and what it says."""
    said, sender = _processes.Pipe(duplex=False)
    process = _processes.Process(target=_work, args=(name, url, seed, sender), daemon=True)
    process.start()
    # The last sender that is left is the process's own: its death ends the pipe.
    sender.close()
    assert _next(said) == "ready"
    return process, said


def _work(name: str, url: str, seed: int, sender: Connection) -> None:
    SUBJECTS[name].work(url, seed, sender.send)


def _next(said: Connection) -> str:
    """The next message; `end` after the last."""
    assert said.poll(PATIENCE_S), "the process says nothing"
    try:
        return str(said.recv())
    except EOFError:
        return "end"


def _killed(name: str, url: str, seed: int, messages: int, after_s: float) -> bool:
    """SIGKILL a process so many messages and seconds after its start; False if it was done before."""
    process, said = _started(name, url, seed)
    heard = [_next(said) for _ in range(messages)]
    time.sleep(after_s)
    process.kill()
    process.join(PATIENCE_S)
    while heard[-1:] != ["end"]:
        heard.append(_next(said))
    return "done" not in heard


def _finish(name: str, url: str, seed: int) -> None:
    process, said = _started(name, url, seed)
    message = ""
    while message not in ("done", "end"):
        message = _next(said)
    process.join(PATIENCE_S)
    assert (message, process.exitcode) == ("done", 0)
