"""Failures of a machine: its database restarts or is locked, its disk is full, its clock jumps, the day is an hour short.

Each scenario replays a day of the tape, causes the failure meanwhile, heals and merges, and compares with the truth.
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
#: Seconds of replay for each round, and at least: several times what a round takes, since a stop ends the replay.
_TAPE_OF_A_ROUND_S, _TAPE_LEAST_S = 12.0, 60.0
#: Events between two failures.
_EVENTS_BETWEEN = 2_000
_LOCK_S = 60.0
#: Least number of readings of the wall clock in a replay: one a frame.
_LEAST_READINGS = 250
#: Days with a change of New York's clocks, for crypto and stocks.
DST_DAYS = (
    Partition(dt.date(2024, 3, 10), Market.CRYPTO),
    Partition(dt.date(2024, 11, 3), Market.CRYPTO),
    Partition(dt.date(2024, 3, 11), Market.STOCKS),
    Partition(dt.date(2024, 11, 4), Market.STOCKS),
)


def postgres_restarts(home: Path, rounds: int) -> Outcome:
    """PostgreSQL stops and starts repeatedly while a collector writes to it."""
    with postgres_server() as server:

        def failure(_: Desk) -> None:
            server.stop()
            time.sleep(1.0)
            server.start()

        return _with_failures(home, "PostgreSQL stopped and restarted", rounds, failure, database_url=server.database())


def sqlite_locks(home: Path, rounds: int) -> Outcome:
    """Another process repeatedly holds SQLite's lock, or a long read."""
    turns = itertools.cycle(("BEGIN EXCLUSIVE", "BEGIN; SELECT count(*) FROM bars"))

    def failure(_: Desk) -> None:
        with sqlite3.connect(home / "tapewatch.db", isolation_level=None, timeout=_LOCK_S) as other:
            other.executescript(next(turns))
            time.sleep(1.5)
            other.execute("ROLLBACK")
        other.close()

    return _with_failures(home, "SQLite locked by another process", rounds, failure)


def full_disk(home: Path, rounds: int) -> Outcome:
    """The spool's disk fills repeatedly, an ingest run finds it full, and room is made. Needs the right to mount."""
    spool = home / "spool"
    spool.mkdir(parents=True, exist_ok=True)
    ballast = spool / "ballast"

    def failure(desk: Desk) -> None:
        known = _times_full(desk), _times_writable(desk)
        _until_full(ballast, lambda: _times_full(desk) > known[0])
        settings = desk.settings()
        ingest(desk.lake, settings.spool_root, desk.day, None, dt.datetime.now(dt.UTC))
        ballast.unlink()
        until(lambda: _times_writable(desk) > known[1], "the spool can be written again")

    with small_disk(spool):
        return _with_failures(home, "disk of the spool full", rounds, failure)


def clock_jumps(home: Path, rounds: int) -> Outcome:
    """The machine's wall clock jumps by hours, forwards and backwards, during a replay."""
    clock = _JumpingClock(rounds, every=max(1, _LEAST_READINGS // rounds))
    with (
        running_emulator(seed=SEED, speed="max", replay=str(CRYPTO_DAY.date)) as emulator,
        mock.patch("time.time_ns", clock),
    ):
        collect_all(emulator, CRYPTO_DAY.market, Home(home), PAIRS, connection=QUICK)
        desk = Desk(emulator, home, CRYPTO_DAY, PAIRS, database_url=Home(home).database)
        return _judged(desk, "wall clock that jumps by hours", clock.jumped, rounds)


def short_night(home: Path, day: Partition) -> Outcome:
    """A day next to a change of New York's clocks."""
    is_crypto = day.market is Market.CRYPTO
    symbols, channels = (PAIRS, None) if is_crypto else (("AAPL", "VOO"), ("T",))
    with running_emulator(seed=SEED, speed="max", replay=str(day.date)) as emulator:
        collect_all(emulator, day.market, Home(home), symbols, channels=channels, connection=QUICK)
        desk = Desk(emulator, home, day, symbols, database_url=Home(home).database)
        return _judged(desk, f"change of clocks, {day.market} of {day.date}", 1, 1)


def renamed_symbol(home: Path) -> Outcome:
    """A stock gets another ticker at noon; everything is subscribed to."""
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
    """The message of a second collector of a market, started by mistake; the first must continue."""
    with running_emulator(seed=SEED, speed="60", replay=str(CRYPTO_DAY.date)) as emulator:
        desk = Desk(emulator, home, CRYPTO_DAY, PAIRS)
        with lasting_process(desk.collector()) as first:
            until(lambda: _sent(desk) > 0, "the first collector streams")
            with lasting_process(desk.collector()) as second:
                assert second.wait(PATIENCE_S) not in (0, None)
            # The first collector writes into the same log.
            (refusal,) = [line for line in _log_of(desk).splitlines() if " CRITICAL " in line]
            stop(desk, first)
    return refusal


@contextmanager
def small_disk(folder: Path, size: str = _SMALL_DISK) -> Iterator[None]:
    """Puts a small disk in place of a folder.

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


def _with_failures(
    home: Path, name: str, rounds: int, failure: Callable[[Desk], None], *, database_url: str | None = None
) -> Outcome:
    """Run a collector on a tape that outlasts its failures, each of which occurs while events arrive; the lake is compared up
    to the collector's last position."""
    lasting = _TAPE_OF_A_ROUND_S * rounds + _TAPE_LEAST_S
    occurred = 0
    with running_emulator(seed=SEED, speed=f"{_DAY_S / lasting:.0f}", replay=str(CRYPTO_DAY.date)) as emulator:
        desk = Desk(emulator, home, CRYPTO_DAY, PAIRS, database_url=database_url)
        with lasting_process(desk.collector()) as collector:
            while occurred < rounds and not progress_of(emulator, desk.market)["is_done"]:
                until(partial(_has_events, desk, _sent(desk) + _EVENTS_BETWEEN), "events")
                failure(desk)
                assert collector.poll() is None, desk.tail("collector")
                occurred += 1
            until(partial(_has_events, desk, _sent(desk) + _EVENTS_BETWEEN), "events after the last failure")
            stop(desk, collector)
        passes = settle(desk)
        end_ns = int(position_file(desk.settings().spool_root / desk.market).read_text())
        found = difference(desk.lake, CRYPTO_DAY, PAIRS, before_ns=end_ns)
    return Outcome(name, occurred, rounds, found, f"the collector kept running; {passes} passes of healer and ingest")


def _judged(desk: Desk, name: str, rounds: int, asked: int) -> Outcome:
    passes = settle(desk)
    found = difference(desk.lake, desk.day, desk.symbols)
    return Outcome(name, rounds, asked, found, f"{passes} passes of healer and ingest")


def _sent(desk: Desk) -> int:
    return int(progress_of(desk.emulator, desk.market)["sent"])


def _has_events(desk: Desk, until_sent: int) -> bool:
    progress = progress_of(desk.emulator, desk.market)
    return bool(progress["sent"] >= until_sent or progress["is_done"])


def _until_full(ballast: Path, is_full: Callable[[], bool]) -> None:
    """Fill a disk to its last page, also as pages become free again, until its writer reports it full."""

    def is_filled() -> bool:
        with ballast.open("ab", buffering=0) as stream, suppress(OSError):
            while stream.write(bytes(_PAGE)):
                pass
        return is_full()

    until(is_filled, "the disk is full")


def _times_full(desk: Desk) -> int:
    return _log_of(desk).count("the spool cannot be written")


def _times_writable(desk: Desk) -> int:
    return _log_of(desk).count("the spool can be written again")


def _log_of(desk: Desk) -> str:
    return (desk.home / "collector.log").read_text(errors="replace")


class _JumpingClock:
    """A wall clock that jumps by hours, `jumps` times, each after `every` readings."""

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
