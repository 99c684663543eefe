"""SIGKILL at random moments of collector, healer and ingest run, and what the lake holds when the dust has settled."""

import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tapewatch.emulator.process import running_emulator
from tests.reliability.desk import Desk
from tests.reliability.scenario import CRYPTO_DAY, PAIRS, Outcome, settle
from tests.reliability.truth import SEED, difference
from tests.support.replays import progress_of

#: Seconds after its start in which a process may be killed: from its imports to well into its work.
_LIVES = {"collector": (1.5, 7.0), "healer": (0.5, 4.0), "ingest": (1.0, 6.0)}
_DAY_S = 86_400
_DONE_S = 240.0


def kills(home: Path, rounds: int) -> Outcome:
    """Kill `rounds` processes, a third of each sort, side by side while the tape runs; then compare with the truth."""
    each = {name: (rounds + 2 - at) // 3 for at, name in enumerate(_LIVES)}
    lasting = sum(_LIVES["collector"]) / 2 * each["collector"] + 20
    killed: Counter[str] = Counter()
    with running_emulator(seed=SEED, speed=f"{_DAY_S / lasting:.0f}", replay=str(CRYPTO_DAY.date)) as emulator:
        desk = Desk(emulator, home, CRYPTO_DAY, PAIRS)
        starts = {"collector": desk.collector, "healer": desk.healer, "ingest": desk.ingest}
        threads = [threading.Thread(target=_kill, args=(name, starts[name], each[name], killed)) for name in _LIVES]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        last = desk.collector()
        deadline = time.monotonic() + _DONE_S + lasting
        while not progress_of(emulator, CRYPTO_DAY.market)["is_done"]:
            assert last.poll() is None, desk.tail("collector")
            assert time.monotonic() < deadline, "the tape did not end in time"
            time.sleep(0.2)
        time.sleep(1.0)
        last.send_signal(signal.SIGTERM)
        assert last.wait(_DONE_S) == 0, desk.tail("collector")
        passes = settle(desk)
        found = difference(desk.lake, CRYPTO_DAY, PAIRS)
    what = ", ".join(f"{count} {name}s" for name, count in killed.items())
    return Outcome(
        f"SIGKILL of {what}", sum(killed.values()), found, f"settled after {passes} passes of healer and ingest"
    )


def _kill(name: str, start: Callable[[], subprocess.Popen[bytes]], rounds: int, killed: Counter[str]) -> None:
    """Start and kill again and again; one that ended before its time does not count."""
    chance = random.Random(f"{name}-{rounds}")  # noqa: S311 - moments, not secrets
    while killed[name] < rounds:
        process = start()
        try:
            process.wait(chance.uniform(*_LIVES[name]))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            killed[name] += 1
