"""ActiveFaults on demand: what a file asks for, when each strikes, how often it did.

A file is TOML with a table `[[fault]]` for each, and `[[rename]]` for symbols that change their name in the day:

    [[fault]]
    kind = "drop"            # see `Kind`
    every = 20000            # strikes after so many events (calls, for faults of REST), again and again,
    # probability = 0.0001   # or with this probability at each
    count = 3                # at most so often; without it, for ever
    seed = 1                 # of what is random about it
    market = "crypto"        # one market alone; without it, all
    channel = "XT"           # one channel alone, for faults of messages
    lose_ms = 5000           # connection faults: tape that passes unseen at speed max
    delay_ms = 2000          # how late out_of_order and duplicate messages and late corrections come
    hold_ms = 3000           # burst: messages held back; slow: how long a frame takes
    skew_ms = 60000          # clock_skew: what is added to the message's time

    [[rename]]
    symbol = "AAPL"
    to = "AAPX"
    at = 2024-03-05T15:00:00Z

The same file and the same clients see the same faults. What they make a client lose is always to be had by REST.
"""

import datetime as dt
import threading
from collections import Counter
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


class FaultError(ValueError):
    """A faults file or request makes no sense; the message says what and where."""


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One fault, as the file states it."""

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

    def applies_to(self, market: Market) -> bool:
        """Whether it strikes in a market."""
        return self.market is None or self.market is market


class Rename(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A symbol that has another name from a moment on."""

    symbol: str
    to: str
    at: dt.datetime

    @property
    def at_ns(self) -> int:
        """The moment, ns UTC."""
        return int(self.at.timestamp()) * 1_000_000_000


class FaultsFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A faults file."""

    fault: tuple[Fault, ...] = ()
    rename: tuple[Rename, ...] = ()


def load(path: Path) -> FaultsFile:
    """A faults file.

    Raises:
        FaultError: it cannot be read, or an entry makes no sense.
    """
    return read(TomlTable(path, "the faults file", FaultError).document, str(path))


def read(document: Any, where: str) -> FaultsFile:
    """A faults file's content, from whatever said it.

    Raises:
        FaultError: an entry makes no sense.
    """
    try:
        faults = msgspec.convert(document, FaultsFile)
    except msgspec.ValidationError as error:
        raise FaultError(f"{where}: {error}") from error
    for number, fault in enumerate(faults.fault):
        if (fault.every is None) == (fault.probability is None):
            raise FaultError(f"{where}: fault {number} ({fault.kind}) needs either every or probability")
        if (fault.every is not None and fault.every < 1) or not 0 < (fault.probability or 1.0) <= 1:
            raise FaultError(f"{where}: fault {number} ({fault.kind}): every is at least 1, probability in (0, 1]")
    for rename in faults.rename:
        if rename.at.tzinfo is None or rename.at_ns % NS_PER_MINUTE:
            raise FaultError(f"{where}: rename of {rename.symbol}: {rename.at} is no whole minute with a zone; add Z")
    return faults


class FaultTrigger:
    """When one fault strikes, as events or calls go by."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self._random = np.random.default_rng((fault.seed, 0x5EED))
        self._left = fault.count
        self._wait = self._next()

    def advance(self, events: int) -> bool:
        """Let events go by; True where the fault strikes after them."""
        if self._left == 0:
            return False
        self._wait -= events
        if self._wait > 0:
            return False
        self._wait = self._next()
        self._left = None if self._left is None else self._left - 1
        return True

    @property
    def wait(self) -> int:
        """Events until it strikes."""
        return self._wait if self._left != 0 else 1 << 62

    def _next(self) -> int:
        if self.fault.probability is not None:
            return int(self._random.geometric(self.fault.probability))
        return self.fault.every or 1


class FaultTriggers:
    """Every fault of some kinds, for one stream or for REST, with counts of what struck."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        self._strikes = [FaultTrigger(fault) for fault in faults]
        self._lock = threading.Lock()

    @property
    def wait(self) -> int:
        """Events until the first of them strikes."""
        return min((strikes.wait for strikes in self._strikes), default=1 << 62)

    def advance(self, events: int) -> Fault | None:
        """Let events go by; the fault that strikes after them, the first where several would."""
        with self._lock:
            struck = [strikes.fault for strikes in self._strikes if strikes.advance(events)]
        return struck[0] if struck else None


class ActiveFaults:
    """The faults in force. They may be changed while the emulator runs."""

    def __init__(self, faults: tuple[Fault, ...] = ()) -> None:
        self.counts: Counter[str] = Counter()
        self.revision = 0
        self._set(faults)

    def replace(self, faults: tuple[Fault, ...]) -> None:
        """Put other faults in their place; they count from now."""
        self.revision += 1
        self._set(faults)

    def messages(self, market: Market) -> tuple[Fault, ...]:
        """The faults of a market's messages."""
        return tuple(fault for fault in self._faults if fault.kind in MESSAGE_KINDS and fault.applies_to(market))

    def connection(self, market: Market) -> FaultTriggers:
        """FaultTrigger at the connections of a market's stream."""
        return self._connection[market]

    @property
    def rest(self) -> FaultTriggers:
        """FaultTrigger at REST calls."""
        return self._rest

    def _set(self, faults: tuple[Fault, ...]) -> None:
        self._faults = faults
        self._rest = FaultTriggers(tuple(fault for fault in faults if fault.kind in REST_KINDS))
        self._connection = {
            market: FaultTriggers(tuple(f for f in faults if f.kind in CONNECTION_KINDS and f.applies_to(market)))
            for market in Market
        }
