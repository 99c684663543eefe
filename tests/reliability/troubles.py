"""What befalls a machine: its database restarts or is locked, its disk is full, its clock jumps; a night is an hour short.

Each scenario plays a day of the tape, troubles the desk meanwhile, lets it come to rest and compares with the truth.
"""

import datetime as dt
import itertools
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from unittest import mock

from tapewatch.emulator.process import running_emulator
from tapewatch.market.instruments import Market, Partition
from tapewatch.streaming.collector.keeper import position_file
from tapewatch.streaming.ingest.ingest import ingest
from tests.reliability.desk import PATIENCE_S, Desk, lasting_process, stop, until
from tests.reliability.faults import QUICK
from tests.reliability.scenario import CRYPTO_DAY, PAIRS, Outcome, settle
from tests.reliability.truth import SEED, difference, renamed_difference
from tests.support.postgres import postgres_server
from tests.support.replays import Home, collect_all, progress_of

_DAY_S = 86_400
_HOUR_NS = 3_600 * 10**9
_SMALL_DISK, _PAGE = "16m", 4096
#: The tape's length for each round of a trouble and at least: several times what a round takes, since a stop ends it.
_TAPE_OF_A_ROUND_S, _TAPE_LEAST_S = 12.0, 60.0
#: Events between two troubles.
_EVENTS_BETWEEN = 2_000
_LOCK_S = 60.0
#: How often the wall clock is read in a replay at the very least: once a frame.
_LEAST_READINGS = 250
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

        def trouble(_: Desk) -> None:
            server.stop()
            time.sleep(1.0)
            server.start()

        return _troubled(home, "PostgreSQL stopped and restarted", rounds, trouble, database_url=server.database())


def sqlite_locks(home: Path, rounds: int) -> Outcome:
    """Another process holds SQLite's lock, or a long read, again and again."""
    turns = itertools.cycle(("BEGIN EXCLUSIVE", "BEGIN; SELECT count(*) FROM bars"))

    def trouble(_: Desk) -> None:
        with sqlite3.connect(home / "tapewatch.db", isolation_level=None, timeout=_LOCK_S) as other:
            other.executescript(next(turns))
            time.sleep(1.5)
            other.execute("ROLLBACK")
        other.close()

    return _troubled(home, "SQLite locked by another process", rounds, trouble)


def full_disk(home: Path, rounds: int) -> Outcome:
    """Something fills the spool's disk again and again, an ingest run meets it full, and room is made. Needs the right to mount."""
    spool = home / "spool"
    spool.mkdir(parents=True, exist_ok=True)
    ballast = spool / "ballast"

    def trouble(desk: Desk) -> None:
        known = _times_full(desk), _times_eased(desk)
        _until_full(ballast, lambda: _times_full(desk) > known[0])
        settings = desk.settings()
        ingest(desk.lake, settings.spool_root, desk.day, None, dt.datetime.now(dt.UTC))
        ballast.unlink()
        until(lambda: _times_eased(desk) > known[1], "the spool can be written again")

    with small_disk(spool):
        return _troubled(home, "disk of the spool full", rounds, trouble)


def clock_jumps(home: Path, rounds: int) -> Outcome:
    """The machine's wall clock jumps by hours, to and fro, in the middle of a replay."""
    clock = _JumpingClock(rounds, every=max(1, _LEAST_READINGS // rounds))
    with (
        running_emulator(seed=SEED, speed="max", replay=str(CRYPTO_DAY.date)) as emulator,
        mock.patch("time.time_ns", clock),
    ):
        collect_all(emulator, CRYPTO_DAY.market, Home(home), PAIRS, connection=QUICK)
        desk = Desk(emulator, home, CRYPTO_DAY, PAIRS, database_url=Home(home).database)
        return _judged(desk, "wall clock that jumps by hours", clock.jumped, rounds)


def short_night(home: Path, day: Partition) -> Outcome:
    """A day before or after which New York's clocks change."""
    is_crypto = day.market is Market.CRYPTO
    symbols, channels = (PAIRS, None) if is_crypto else (("AAPL", "VOO"), ("T",))
    with running_emulator(seed=SEED, speed="max", replay=str(day.date)) as emulator:
        collect_all(emulator, day.market, Home(home), symbols, channels=channels, connection=QUICK)
        desk = Desk(emulator, home, day, symbols, database_url=Home(home).database)
        return _judged(desk, f"change of clocks, {day.market} of {day.date}", 1, 1)


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
    return Outcome("symbol renamed in the day", 1, 1, found, f"{passes} passes of healer and ingest")


def second_collector(home: Path) -> str:
    """What the second collector of a market says when it is started by mistake, and that the first goes on."""
    with running_emulator(seed=SEED, speed="60", replay=str(CRYPTO_DAY.date)) as emulator:
        desk = Desk(emulator, home, CRYPTO_DAY, PAIRS)
        with lasting_process(desk.collector()) as first:
            until(lambda: _sent(desk) > 0, "the first collector streams")
            with lasting_process(desk.collector()) as second:
                assert second.wait(PATIENCE_S) not in (0, None)
            # The first goes on writing into the same log.
            (said,) = [line for line in _log_of(desk).splitlines() if " CRITICAL " in line]
            stop(desk, first)
    return said


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
    home: Path, name: str, rounds: int, trouble: Callable[[Desk], None], *, database_url: str | None = None
) -> Outcome:
    """A collector process over a tape that outlasts its troubles, each of which strikes while events come; it is judged up to
    where it stopped."""
    lasting = _TAPE_OF_A_ROUND_S * rounds + _TAPE_LEAST_S
    struck = 0
    with running_emulator(seed=SEED, speed=f"{_DAY_S / lasting:.0f}", replay=str(CRYPTO_DAY.date)) as emulator:
        desk = Desk(emulator, home, CRYPTO_DAY, PAIRS, database_url=database_url)
        with lasting_process(desk.collector()) as collector:
            while struck < rounds and not progress_of(emulator, desk.market)["is_done"]:
                until(partial(_flows, desk, _sent(desk) + _EVENTS_BETWEEN), "events")
                trouble(desk)
                assert collector.poll() is None, desk.tail("collector")
                struck += 1
            until(partial(_flows, desk, _sent(desk) + _EVENTS_BETWEEN), "events after the last trouble")
            stop(desk, collector)
        passes = settle(desk)
        end_ns = int(position_file(desk.settings().spool_root / desk.market).read_text())
        found = difference(desk.lake, CRYPTO_DAY, PAIRS, before_ns=end_ns)
    return Outcome(name, struck, rounds, found, f"the collector lived on; {passes} passes of healer and ingest")


def _judged(desk: Desk, name: str, rounds: int, asked: int) -> Outcome:
    passes = settle(desk)
    found = difference(desk.lake, desk.day, desk.symbols)
    return Outcome(name, rounds, asked, found, f"{passes} passes of healer and ingest")


def _sent(desk: Desk) -> int:
    return int(progress_of(desk.emulator, desk.market)["sent"])


def _flows(desk: Desk, until_sent: int) -> bool:
    progress = progress_of(desk.emulator, desk.market)
    return bool(progress["sent"] >= until_sent or progress["is_done"])


def _until_full(ballast: Path, is_full: Callable[[], bool]) -> None:
    """Fill a disk to its last page, and on as others give pages back, until whoever writes there says so."""

    def is_filled() -> bool:
        with ballast.open("ab", buffering=0) as stream, suppress(OSError):
            while stream.write(bytes(_PAGE)):
                pass
        return is_full()

    until(is_filled, "the disk is full")


def _times_full(desk: Desk) -> int:
    return _log_of(desk).count("the spool cannot be written")


def _times_eased(desk: Desk) -> int:
    return _log_of(desk).count("the spool can be written again")


def _log_of(desk: Desk) -> str:
    return (desk.home / "collector.log").read_text(errors="replace")


class _JumpingClock:
    """A wall clock that jumps by hours, `jumps` times, after so many readings each."""

    def __init__(self, jumps: int, *, every: int) -> None:
        self.jumped = 0
        self._jumps, self._every = jumps, every
        self._true, self._lock = time.time_ns, threading.Lock()
        self._hours = itertools.cycle((2, -3, 1))
        self._readings = self._offset = 0

    def __call__(self) -> int:
        with self._lock:
            self._readings += 1
            if self.jumped < self._jumps and self._readings % self._every == 0:
                self._offset += next(self._hours) * _HOUR_NS
                self.jumped += 1
            return self._true() + self._offset
