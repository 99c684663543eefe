"""SIGKILL of a paper broker at random moments, with resting orders: `python -m tests.reliability.paper [KILLS]`, 100 by default."""

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tapewatch.store.database.database import Database
from tapewatch.trading.engine import Tape
from tapewatch.trading.paper.broker import PaperBroker
from tapewatch.trading.paper.ledger import open_account, send
from tests.reliability.desk import CHECKOUT, PATIENCE_S
from tests.support.paper import ACCOUNT, END, LIMITS, SETTINGS, recorded_day, state_of

#: Seconds between a process's first step and its kill.
_LIFETIME_S = (0.0, 1.0)


def kills(home: Path, wanted: int) -> tuple[int, int, list[str]]:
    """Replay days until so many brokers were killed.

    Returns: kills, those with a resting order, and the tables that differ from those of an undisturbed broker.
    """
    chance = random.Random(wanted)  # noqa: S311 - moments, not secrets
    killed = resting = seed = 0
    differing: list[str] = []
    while killed < wanted:
        seed += 1
        url = f"sqlite:///{home / f'killed {seed}.db'}"
        while killed < wanted and _killed(url, seed, chance.uniform(*_LIFETIME_S)):
            killed += 1
            with Database(url) as database:
                resting += bool((state_of(database)["paper_orders"]["state"] == "open").any())
        _run(url, seed)
        expected = _undisturbed(f"sqlite:///{home / f'undisturbed {seed}.db'}", seed)
        with Database(url) as database:
            found = state_of(database)
        differing += [f"day {seed}: {name}" for name in expected if not found[name].equals(expected[name])]
    return killed, resting, differing


def _command(url: str, seed: int) -> list[str]:
    return [sys.executable, "-m", "tests.support.paper", url, str(seed)]


def _killed(url: str, seed: int, after_s: float) -> bool:
    """Kill a broker so long after its first step; False if it was done before."""
    with subprocess.Popen(_command(url, seed), cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(after_s)
        process.kill()
        return "done" not in process.stdout.read()


def _run(url: str, seed: int) -> None:
    subprocess.run(_command(url, seed), cwd=CHECKOUT, check=True, capture_output=True, timeout=PATIENCE_S)


def _undisturbed(url: str, seed: int) -> dict:  # type: ignore[type-arg]
    tape, sent = recorded_day(seed)
    with Database(url) as database:
        open_account(database, ACCOUNT, SETTINGS, is_bars=True)
        send(database, ACCOUNT, sent)
        PaperBroker(database, ACCOUNT, SETTINGS, LIMITS).process(Tape.of_bars(tape), END)
        return state_of(database)


def main() -> int:
    """Print the count; the exit status is 0 if no table differs."""
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    with tempfile.TemporaryDirectory(prefix="tapewatch-paper-") as folder:
        killed, resting, differing = kills(Path(folder), wanted)
    verdict = "FAILED: " + ", ".join(differing) if differing else "every account equals the undisturbed one"
    sys.stdout.write(f"{killed} brokers killed, {resting} of them with resting orders: {verdict}\n")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
