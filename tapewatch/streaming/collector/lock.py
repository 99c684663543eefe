"""One collector per market and home: the lock that the second one fails on, and what the first one says of itself."""

import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import filelock
import msgspec

from tapewatch.market.instruments import Market
from tapewatch.store.durable import process_lock, write_whole

#: Who only asks holds the lock for a moment: a collector that starts just then must not take it for another collector.
_GLANCE_S = 2.0


class CollectorError(RuntimeError):
    """A collector cannot run, and starting it again would not help; the message says why and names the way out."""


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """The process that collects a market. `starts` counts those of one supervisor's life, named by `watch`."""

    pid: int
    started_ns: int
    watch: str
    starts: int


class CollectorLock:
    """Held while a market is collected; use as a context manager. The system lets go of it however the process ends.

    Args:
        folder: where the deployment keeps what belongs to running processes.
        market: the market to collect.
        watch: names the life of the supervisor that starts this process; its starts are counted together.
    """

    def __init__(self, folder: Path, market: Market, *, watch: str = "") -> None:
        self._market = market
        self._folder = folder
        self._watch = watch
        self._lock = process_lock(folder / f"collector-{market}.lock")
        self._record = folder / f"collector-{market}.json"
        self.restarts = 0

    def __enter__(self) -> Self:
        try:
            self._lock.acquire(timeout=_GLANCE_S)
        except filelock.Timeout:
            raise CollectorError(self._refusal()) from None
        before = read_owner(self._record)
        starts = before.starts + 1 if before is not None and self._watch and before.watch == self._watch else 1
        self.restarts = starts - 1
        owner = Owner(pid=os.getpid(), started_ns=time.time_ns(), watch=self._watch, starts=starts)
        write_whole(self._record, msgspec.json.encode(owner), is_synced=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def check(self) -> None:
        """Raise the CollectorError that another process would see now, and leave everything as it is."""
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise CollectorError(self._refusal()) from None
        self._lock.release()

    def _refusal(self) -> str:
        owner = read_owner(self._record)
        process = f"process {owner.pid}" if owner is not None else "another process"
        return (
            f"{process} collects {self._market} into {self._folder.parent} already: stop it, "
            "or set TAPEWATCH_HOME to another folder"
        )


def read_owner(record: Path) -> Owner | None:
    """What the last collector wrote of itself; None where none did."""
    try:
        return msgspec.json.decode(record.read_bytes(), type=Owner)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
