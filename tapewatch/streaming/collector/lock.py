"""One collector per market and home: a lock that a second collector fails on, and a record of the process that holds it."""

import os
from pathlib import Path
from types import TracebackType
from typing import Self

import filelock
import msgspec

from tapewatch.market.instruments import Market
from tapewatch.store.durable import process_lock, write_whole

#: `check` holds the lock for a moment: a collector that starts just then waits for this long.
_CHECK_S = 2.0


class CollectorError(RuntimeError):
    """A collector cannot run, and starting it again would not help; the message says why and names the way out."""


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """The process that collects a market. `starts` counts its starts by one run of the supervisor, `watch`."""

    pid: int
    watch: str
    starts: int


class CollectorLock:
    """Held while a market is collected; a context manager. The system releases it however the process ends.

    `watch` identifies the run of the supervisor that starts this process; its starts are counted together.
    """

    def __init__(self, folder: Path, market: Market, *, watch: str = "") -> None:
        self._market = market
        self._folder = folder
        self._watch = watch
        self._lock = process_lock(folder / f"collector-{market}.lock")
        self._record = folder / f"collector-{market}.json"
        self.restarts = 0

    def __enter__(self) -> Self:
        self._acquire(_CHECK_S)
        before = self._owner()
        starts = before.starts + 1 if before is not None and self._watch and before.watch == self._watch else 1
        self.restarts = starts - 1
        owner = Owner(pid=os.getpid(), watch=self._watch, starts=starts)
        write_whole(self._record, msgspec.json.encode(owner), is_synced=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def check(self) -> None:
        """Raise the CollectorError that another process would get now; changes nothing."""
        self._acquire(0)
        self._lock.release()

    def _acquire(self, timeout_s: float) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=timeout_s)
        except filelock.Timeout:
            owner = self._owner()
            process = f"process {owner.pid}" if owner is not None else "another process"
            raise CollectorError(
                f"{process} collects {self._market} into {self._folder.parent} already: stop it, "
                "or set TAPEWATCH_HOME to another folder"
            ) from None

    def _owner(self) -> Owner | None:
        """The last collector's record; None where there is none, or it was cut short."""
        try:
            return msgspec.json.decode(self._record.read_bytes(), type=Owner)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
