"""SIGKILL of collector, healer and ingest runs at random moments, and the lake's content afterwards."""

import random
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from tapewatch.emulator.process import running_emulator
from tests.reliability.desk import PATIENCE_S, Desk, lasting_process, stop, until_done
from tests.reliability.scenario import CRYPTO_DAY, PAIRS, Outcome, settle
from tests.reliability.truth import SEED, difference

#: Seconds after its start in which a process may be killed: from its imports to well into its work.
_LIFETIMES = {"collector": (1.5, 7.0), "healer": (0.5, 4.0), "ingest": (1.0, 6.0)}
_DAY_S = 86_400
_MARGIN, _DAY_END_S = 1.15, 20.0
_SOONER = 0.8


def kills(home: Path, rounds: int) -> Outcome:
    """Kill `rounds` processes, a third of each kind, in parallel while the tape runs; then compare with the truth."""
    chance = random.Random(rounds)  # noqa: S311 - moments, not secrets
    lifetimes = {
        name: [chance.uniform(*span) for _ in range((rounds + 2 - at) // 3)]
        for at, (name, span) in enumerate(_LIFETIMES.items())
    }
    killed: Counter[str] = Counter()
    # The tape outlasts the killed collectors, and the last one receives its end.
    lasting = sum(lifetimes["collector"]) * _MARGIN + _DAY_END_S
    with running_emulator(seed=SEED, speed=f"{_DAY_S / lasting:.0f}", replay=str(CRYPTO_DAY.date)) as emulator:
        desk = Desk(emulator, home, CRYPTO_DAY, PAIRS)
        threads = [
            threading.Thread(target=_kill, args=(name, start, lifetimes[name], killed))
            for name, start in (("healer", desk.healer), ("ingest", desk.ingest))
        ]
        for thread in threads:
            thread.start()
        _kill("collector", desk.collector, lifetimes["collector"], killed)
        with lasting_process(desk.collector()) as last:
            until_done(desk, last, lasting + PATIENCE_S)
            for thread in threads:
                thread.join()
            stop(desk, last)
        passes = settle(desk)
        found = difference(desk.lake, CRYPTO_DAY, PAIRS)
    what = ", ".join(f"{killed[name]} {name}s" for name in _LIFETIMES)
    note = f"settled after {passes} passes of healer and ingest"
    return Outcome(f"SIGKILL of {what}", killed.total(), rounds, found, note)


def _kill(
    name: str, start: Callable[[], subprocess.Popen[bytes]], lifetimes: Sequence[float], killed: Counter[str]
) -> None:
    """Start and kill repeatedly; a process that ended before its kill does not count, and the next is killed sooner."""
    for lifetime in lifetimes:
        seconds, is_killed = lifetime, False
        while not is_killed:
            process = start()
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                is_killed = True
            seconds *= _SOONER
        killed[name] += 1
