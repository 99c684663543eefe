"""Faults on request: the faults file, when each fault occurs, and how often it did.

A faults file is TOML with a table `[[fault]]` for each fault, and `[[rename]]` for symbols that change their name:

    [[fault]]
    kind = "drop"            # one of `CONNECTION_KINDS`, `MESSAGE_KINDS`, `REST_KINDS`
    every = 20000            # occurs after each 20,000 events (calls, for faults of REST),
    # probability = 0.0001   # or with this probability at each
    count = 3                # at most three times; no limit by default
    seed = 1                 # of the random choices
    market = "crypto"        # one market; all by default
    channel = "XT"           # one channel, for faults of messages; all by default
    lose_ms = 5000           # connection faults: length of tape that is skipped at speed max
    delay_ms = 2000          # delay of out_of_order and duplicate messages and of late corrections
    hold_ms = 3000           # burst: how long messages are held back; slow: how long a frame takes
    skew_ms = 60000          # clock_skew: added to the message's time

    [[rename]]
    symbol = "AAPL"
    to = "AAPX"
    at = 2024-03-05T15:00:00Z

The same file and the same clients give the same faults. REST always serves what a fault made a stream lose.
"""

import datetime as dt
import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from tapewatch.market.instruments import NS_PER_MINUTE, Market
from tapewatch.toml_tables import TomlTable

ConnectionKind = Literal["drop", "close", "close_1008", "half_open", "malformed_json", "truncated_frame", "slow"]
MessageKind = Literal[
    "unknown_event", "unknown_field", "duplicate", "out_of_order", "late_correction", "burst", "clock_skew"
]
RestKind = Literal["http_429", "http_500", "cut_page"]

CONNECTION_KINDS = frozenset(ConnectionKind.__args__)  # type: ignore[attr-defined]
MESSAGE_KINDS = frozenset(MessageKind.__args__)  # type: ignore[attr-defined]
REST_KINDS = frozenset(RestKind.__args__)  # type: ignore[attr-defined]

_NEVER = 1 << 62


class FaultError(ValueError):
    """A faults file or request is invalid; the message names the place and the problem."""


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    kind: ConnectionKind | MessageKind | RestKind
    every: int | None = None
    probability: float | None = None
    count: int | None = None
    seed: int = 0
    market: Market | None = None
    channel: str | None = None
    lose_ms: int = 0
    delay_ms: int = 2_000
    hold_ms: int = 2_000
    skew_ms: int = 60_000


class Rename(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    symbol: str
    to: str
    at: dt.datetime

    @property
    def at_ns(self) -> int:
        return int(self.at.timestamp()) * 1_000_000_000


class FaultsFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    fault: tuple[Fault, ...] = ()
    rename: tuple[Rename, ...] = ()


def load(path: Path) -> FaultsFile:
    """Read a faults file.

    Raises:
        FaultError: the file cannot be read, or an entry is invalid.
    """
    return read(TomlTable(path, "the faults file", FaultError).document, str(path))


def read(document: Any, where: str) -> FaultsFile:
    """Check the content of a faults file; `where` names its source in errors.

    Raises:
        FaultError: an entry is invalid.
    """
    try:
        faults = msgspec.convert(document, FaultsFile)
    except msgspec.ValidationError as error:
        raise FaultError(f"{where}: {error}") from error
    for number, fault in enumerate(faults.fault):
        if (fault.every is None) == (fault.probability is None):
            raise FaultError(f"{where}: fault {number} ({fault.kind}) needs either every or probability")
        is_valid = 0 < (fault.probability or 0) <= 1 if fault.every is None else fault.every >= 1
        if not is_valid:
            raise FaultError(f"{where}: fault {number} ({fault.kind}): every is at least 1, probability in (0, 1]")
    for rename in faults.rename:
        if rename.at.tzinfo is None or rename.at_ns % NS_PER_MINUTE:
            raise FaultError(
                f"{where}: rename of {rename.symbol}: {rename.at} is not a whole minute with a time zone; append Z"
            )
    return faults


class FaultTrigger:
    """Counts the events or calls until one fault occurs."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self._random = np.random.default_rng((fault.seed, 0x5EED))
        self._times_left = fault.count
        self._events_left = self._next()

    @property
    def events_left(self) -> int:
        """Events until the fault is due; zero or less if it is."""
        return self._events_left if self._times_left != 0 else _NEVER

    def count(self, events: int) -> None:
        """Count events."""
        self._events_left -= events

    def occur(self) -> Fault:
        """The fault, which was due; from now on it is counted again."""
        self._events_left = self._next()
        self._times_left = None if self._times_left is None else self._times_left - 1
        return self.fault

    def _next(self) -> int:
        if self.fault.probability is not None:
            return int(self._random.geometric(self.fault.probability))
        return self.fault.every or 1


class FaultTriggers:
    """The triggers of several faults, for the connections of one market or for REST."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self._triggers = [FaultTrigger(fault) for fault in faults]
        self._lock = threading.Lock()

    @property
    def events_left(self) -> int:
        """Events until the next fault occurs."""
        return max(1, min((trigger.events_left for trigger in self._triggers), default=_NEVER))

    def advance(self, events: int) -> Fault | None:
        """Count events; the fault that occurs after them. Of several that are due one occurs, the others at the next events."""
        with self._lock:
            for trigger in self._triggers:
                trigger.count(events)
            first = min(self._triggers, key=lambda trigger: trigger.events_left, default=None)
            return first.occur() if first is not None and first.events_left <= 0 else None


class ActiveFaults:
    """The faults in force. They can be replaced while the emulator runs; `revision` counts the replacements."""

    def __init__(self, faults: tuple[Fault, ...] = ()) -> None:
        self.counts: Counter[str] = Counter()
        self.revision = -1
        self.replace(faults)

    def replace(self, faults: tuple[Fault, ...]) -> None:
        """Put other faults in force, counted from now on."""
        self.revision += 1
        self._faults = faults
        self.rest = FaultTriggers(fault for fault in faults if fault.kind in REST_KINDS)
        self.connection = {market: FaultTriggers(self._of(CONNECTION_KINDS, market)) for market in Market}

    def messages(self, market: Market) -> tuple[Fault, ...]:
        return self._of(MESSAGE_KINDS, market)

    def _of(self, kinds: frozenset[str], market: Market) -> tuple[Fault, ...]:
        return tuple(fault for fault in self._faults if fault.kind in kinds and fault.market in (None, market))
