"""What befalls a machine: its database restarts or is locked, its disk is full, its clock jumps; a night is an hour short.

Each scenario plays a day of the tape, troubles the desk meanwhile, lets it come to rest and compares with the truth.
"""

import datetime as dt
import itertools
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from tapewatch.emulator.process import RunningEmulator, running_emulator
from tapewatch.market.instruments import Market, Partition
from tests.reliability.desk import Desk
from tests.reliability.faults import QUICK
from tests.reliability.scenario import CRYPTO_DAY, PAIRS, Outcome, settle
from tests.reliability.truth import SEED, difference, renamed_difference
from tests.support.postgres import postgres_server
from tests.support.replays import Home, collect_all, progress_of

_DAY_S = 86_400
_HOUR_NS = 3_600 * 10**9
_SMALL_DISK = "1m"
#: How long what must come may take on a machine that is busy.
_PATIENCE_S = 240.0
#: Nights in which New York's clocks move, as crypto and stocks see them.
DST_DAYS = (
    Partition(dt.date(2024, 3, 10), Market.CRYPTO),
    Partition(dt.date(2024, 11, 3), Market.CRYPTO),
    Partition(dt.date(2024, 3, 11), Market.STOCKS),
    Partition(dt.date(2024, 11, 4), Market.STOCKS),
)


def postgres_restarts(home: Path, rounds: int) -> Outcome:
    """PostgreSQL stops and starts again, again and again, while a collector writes to it."""
    with postgres_server() as server:

        def trouble() -> None:
            server.stop()
            time.sleep(1.0)
            server.start()

        return _troubled(home, "PostgreSQL stopped and restarted", rounds, trouble, database_url=server.database())


def sqlite_locks(home: Path, rounds: int) -> Outcome:
    """Another process holds SQLite's lock, or a long read, again and again."""
    turns = itertools.cycle(("BEGIN EXCLUSIVE", "BEGIN; SELECT count(*) FROM bars"))

    def trouble() -> None:
        with sqlite3.connect(home / "tapewatch.db", isolation_level=None, timeout=10) as other:
            other.executescript(next(turns))
            time.sleep(1.5)
            other.execute("ROLLBACK")
        other.close()

    return _troubled(home, "SQLite locked by another process", rounds, trouble)


def full_disk(home: Path, rounds: int) -> Outcome:
    """The spool's disk fills, stays full for seconds, and is emptied by an ingest run. Needs the right to mount."""
    spool = home / "spool"
    spool.mkdir(parents=True, exist_ok=True)
    desk_of: list[Desk] = []

    def trouble() -> None:
        """Wait until the collector says that nothing fits, give it two seconds of that, and make room."""
        desk = desk_of[0]
        _until(lambda: _times_full(desk) > full[0], "the disk is full")
        time.sleep(2.0)
        full[0] = _times_full(desk)
        assert desk.ingest().wait(_PATIENCE_S) == 0, desk.tail("ingest")

    full = [0]
    with small_disk(spool):
        return _troubled(
            home,
            "disk of the spool full",
            rounds,
            trouble,
            told=desk_of.append,
            eased=lambda: _enlarge(spool),
            pace_s=18.0,
        )


def clock_jumps(home: Path, rounds: int) -> Outcome:
    """The machine's wall clock jumps by hours, to and fro, in the middle of a replay."""
    jumps = itertools.cycle((2 * _HOUR_NS, -3 * _HOUR_NS, _HOUR_NS))
    offset = [0]
    true_time = time.time_ns
    stop = threading.Event()

    def jump() -> None:
        for _ in range(rounds):
            if stop.wait(0.2):
                return
            offset[0] += next(jumps)

    def jumped_ns() -> int:
        return true_time() + offset[0]

    with (
        running_emulator(seed=SEED, speed="max", replay=str(CRYPTO_DAY.date)) as emulator,
        mock.patch("time.time_ns", jumped_ns),
    ):
        jumper = threading.Thread(target=jump)
        jumper.start()
        collect_all(emulator, CRYPTO_DAY.market, Home(home), PAIRS, connection=QUICK)
        stop.set()
        jumper.join()
        return _judged(emulator, home, CRYPTO_DAY, "wall clock that jumps by hours", rounds)


def short_night(home: Path, day: Partition) -> Outcome:
    """A day before or after which New York's clocks change."""
    is_crypto = day.market is Market.CRYPTO
    symbols, channels = (PAIRS, None) if is_crypto else (("AAPL", "VOO"), ("T",))
    with running_emulator(seed=SEED, speed="max", replay=str(day.date)) as emulator:
        collect_all(emulator, day.market, Home(home), symbols, channels=channels, connection=QUICK)
        return _judged(emulator, home, day, f"change of clocks, {day.market} of {day.date}", 1, symbols=symbols)


def renamed_symbol(home: Path) -> Outcome:
    """A stock has another ticker from noon on; everything is subscribed to."""
    day = Partition(dt.date(2024, 3, 5), Market.STOCKS)
    at = dt.datetime(2024, 3, 5, 17, tzinfo=dt.UTC)
    home.mkdir(parents=True, exist_ok=True)
    faults = home / "rename.toml"
    faults.write_text(f'[[rename]]\nsymbol = "AAPL"\nto = "AAPX"\nat = {at:%Y-%m-%dT%H:%M:%SZ}\n', encoding="utf-8")
    with running_emulator(seed=SEED, speed="max", replay=str(day.date), faults=faults) as emulator:
        collect_all(emulator, day.market, Home(home), (), channels=("T",), connection=QUICK)
        desk = Desk(emulator, home, day, ("AAPL", "AAPX"), database_url=Home(home).database)
        passes = settle(desk)
        found = renamed_difference(desk.lake, day, "AAPL", "AAPX", at)
    return Outcome("symbol renamed in the day", 1, found, f"{passes} passes of healer and ingest")


def second_collector(home: Path) -> str:
    """What the second collector of a market says when it is started by mistake, and that the first goes on."""
    with running_emulator(seed=SEED, speed="60", replay=str(CRYPTO_DAY.date)) as emulator:
        desk = Desk(emulator, home, CRYPTO_DAY, PAIRS)
        first = desk.collector()
        try:
            _until(lambda: progress_of(emulator, CRYPTO_DAY.market)["sent"] > 0, "the first collector streams")
            second = desk.collector()
            assert second.wait(_PATIENCE_S) not in (0, None)
            assert first.poll() is None
            return desk.tail("collector", 1)
        finally:
            first.send_signal(signal.SIGTERM)
            first.wait(_PATIENCE_S)


@contextmanager
def small_disk(folder: Path, size: str = _SMALL_DISK) -> Iterator[None]:
    """A disk of its own, and small, in place of a folder.

    Raises:
        PermissionError: this process may not mount.
    """
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode:
        raise PermissionError(f"cannot mount a small disk: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _troubled(
    home: Path,
    name: str,
    rounds: int,
    trouble: Callable[[], None],
    *,
    database_url: str | None = None,
    told: Callable[[Desk], None] = lambda _: None,
    eased: Callable[[], None] = lambda: None,
    pace_s: float = 6.0,
) -> Outcome:
    """A collector process over a day of the tape, and a trouble every few seconds of it."""
    lasting = pace_s * rounds + 10
    with running_emulator(seed=SEED, speed=f"{_DAY_S / lasting:.0f}", replay=str(CRYPTO_DAY.date)) as emulator:
        desk = Desk(emulator, home, CRYPTO_DAY, PAIRS, database_url=database_url)
        told(desk)
        with _lasting(desk.collector()) as collector:
            _until(lambda: progress_of(emulator, CRYPTO_DAY.market)["sent"] > 0, "the collector streams")
            for _ in range(rounds):
                time.sleep(2.0)
                assert collector.poll() is None, desk.tail("collector")
                trouble()
            _until(lambda: progress_of(emulator, CRYPTO_DAY.market)["is_done"], "the tape ends", lasting + _PATIENCE_S)
            time.sleep(3.0)
            assert collector.poll() is None, desk.tail("collector")
            collector.send_signal(signal.SIGTERM)
            assert collector.wait(_PATIENCE_S) == 0, desk.tail("collector")
        eased()
        passes = settle(desk)
        found = difference(desk.lake, CRYPTO_DAY, PAIRS)
    return Outcome(name, rounds, found, f"the collector lived on; {passes} passes of healer and ingest")


@contextmanager
def _lasting(process: "subprocess.Popen[bytes]") -> Iterator["subprocess.Popen[bytes]"]:
    """A process that is not left behind, whatever becomes of the scenario."""
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _judged(
    emulator: RunningEmulator, home: Path, day: Partition, name: str, rounds: int, *, symbols: tuple[str, ...] = PAIRS
) -> Outcome:
    desk = Desk(emulator, home, day, symbols, database_url=Home(home).database)
    passes = settle(desk)
    return Outcome(name, rounds, difference(desk.lake, day, symbols), f"{passes} passes of healer and ingest")


def _until(holds: Callable[[], bool], what: str, seconds: float = _PATIENCE_S) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.1)


def _enlarge(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=256m", str(folder)], check=True)


def _times_full(desk: Desk) -> int:
    return (desk.home / "collector.log").read_text(errors="replace").count("the spool takes no rows")
