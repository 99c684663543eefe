"""Tells people of alerts: channels with retries, deduplication and limits, each in a thread of its own.

Nothing here ever waits for a receiver on the caller's time.
"""

import logging
import queue
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from pyrate_limiter import Limiter, Rate
from tenacity import RetryError, Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from tapewatch.market.instruments import Market

_log = logging.getLogger(__name__)

_REMEMBERED: Final = 10_000
_POLL_S: Final = 0.25


class NotifyError(RuntimeError):
    """A channel did not take a message. `is_transient` where trying again may help; the message holds no secret."""

    def __init__(self, message: str, *, is_transient: bool) -> None:
        super().__init__(message)
        self.is_transient = is_transient


@dataclass(frozen=True, slots=True)
class Notice:
    """An alert that opened or ended; `row` is a row of `ALERTS`."""

    market: Market
    row: dict[str, Any]
    is_closing: bool = False

    @property
    def identity(self) -> tuple[str, bool]:
        """The same event's opening, or end, is told once."""
        return self.row["alert_id"], self.is_closing

    @property
    def headline(self) -> str:
        """One line for a person."""
        state = "ended" if self.is_closing else self.row["severity"]
        return f"[{state}] {self.market} {self.row['rule']}: {self.row['message']}"


class Notifier(Protocol):
    """A way to tell somebody."""

    @property
    def name(self) -> str:
        """How log and metrics call it; no secret."""

    def send(self, notice: Notice) -> None:
        """Tell of one alert; raises NotifyError."""

    def send_summary(self, text: str) -> None:
        """Tell how much was held back; raises NotifyError."""


@dataclass(slots=True)
class Tally:
    """What became of a channel's notices."""

    sent: int = 0
    repeated: int = 0
    held_back: int = 0
    failed: int = 0
    dropped: int = 0


class NoticeBoard:
    """Hands notices to channels. One slow or dead channel holds up neither the others nor the caller.

    Args:
        channels: who is told.
        per_minute: messages a minute and channel; what exceeds it is held back, counted, and summed up in one message later.
        attempts: tries a message, with jittered and doubling pauses between them.
        first_pause_s: pause after the first failed try.
        capacity: notices that wait for one channel; beyond it they are dropped, counted and logged.
    """

    def __init__(
        self,
        channels: Sequence[Notifier],
        *,
        per_minute: int = 20,
        attempts: int = 5,
        first_pause_s: float = 1.0,
        capacity: int = 1000,
    ) -> None:
        self._workers = [
            _Worker(channel, Limiter(Rate(per_minute, 60_000)), attempts, first_pause_s, capacity)
            for channel in channels
        ]

    @property
    def tallies(self) -> dict[str, Tally]:
        """What became of the notices, by channel."""
        return {worker.channel.name: worker.tally for worker in self._workers}

    def announce(self, notice: Notice) -> None:
        """Hand a notice to every channel; returns at once."""
        for worker in self._workers:
            worker.put(notice)

    def close(self, timeout_s: float = 5.0) -> None:
        """Deliver what waits and the summaries, for at most so long; what is left is counted as dropped and logged."""
        deadline = time.monotonic() + timeout_s
        self.begin_close()
        for worker in self._workers:
            worker.finish(max(0.0, deadline - time.monotonic()))

    def begin_close(self) -> None:
        """Let every channel deliver what waits and its summary; nothing more is announced."""
        for worker in self._workers:
            worker.begin_close()


class _Worker:
    def __init__(self, channel: Notifier, limiter: Limiter, attempts: int, first_pause_s: float, capacity: int) -> None:
        self.channel = channel
        self.tally = Tally()
        self._limiter = limiter
        self._retrying = Retrying(
            retry=retry_if_exception(_is_worth_another_try),
            stop=stop_after_attempt(attempts),
            wait=wait_exponential_jitter(initial=first_pause_s, max=60.0, jitter=first_pause_s),
            sleep=self._pause,
        )
        self._queue: queue.Queue[Notice] = queue.Queue(capacity)
        self._told: OrderedDict[tuple[str, bool], None] = OrderedDict()
        self._held: Counter[str] = Counter()
        self._holding = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"notify-{channel.name}", daemon=True)
        self._thread.start()

    def put(self, notice: Notice) -> None:
        try:
            self._queue.put_nowait(notice)
        except queue.Full:
            self.tally.dropped += 1
            self._hold(notice)
            _log.error(
                "%s: %d notices wait already, dropped: %s", self.channel.name, self._queue.maxsize, notice.headline
            )

    def _hold(self, notice: Notice) -> None:
        with self._holding:
            self._held[notice.row["rule"]] += 1

    def begin_close(self) -> None:
        self._closing.set()

    def finish(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)
        left = self._queue.qsize()
        if left:
            self.tally.dropped += left
            _log.error("%s: %d notices were not delivered before the end", self.channel.name, left)

    def _pause(self, seconds: float) -> None:
        self._closing.wait(seconds)

    def _run(self) -> None:
        while True:
            try:
                notice = self._queue.get(timeout=_POLL_S)
            except queue.Empty:
                if self._closing.is_set():
                    self._summarise(is_last=True)
                    return
                self._summarise(is_last=False)
                continue
            self._handle(notice)

    def _handle(self, notice: Notice) -> None:
        if notice.identity in self._told:
            self.tally.repeated += 1
            return
        self._told[notice.identity] = None
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        if not self._limiter.try_acquire(self.channel.name, blocking=False):
            self.tally.held_back += 1
            self._hold(notice)
        else:
            self._deliver(notice)

    def _deliver(self, notice: Notice) -> None:
        try:
            self._retrying(self.channel.send, notice)
            self.tally.sent += 1
        except Exception as error:  # noqa: BLE001 - whatever a channel fails of, it is told of the next alert
            self.tally.failed += 1
            _log.error("%s: could not tell of %s: %s", self.channel.name, notice.headline, _reason(error))

    def _summarise(self, *, is_last: bool) -> None:
        if not self._held or not (is_last or self._limiter.try_acquire(self.channel.name, blocking=False)):
            return
        with self._holding:
            held, self._held = self._held, Counter()
        parts = ", ".join(f"{count} {rule}" for rule, count in held.most_common())
        text = f"{held.total()} messages about alerts were held back: {parts}. All of them are in the database."
        try:
            self._retrying(self.channel.send_summary, text)
        except Exception as error:  # noqa: BLE001 - as above
            self.tally.failed += 1
            _log.error("%s: could not send a summary: %s (%s)", self.channel.name, _reason(error), text)


def _is_worth_another_try(error: BaseException) -> bool:
    return isinstance(error, NotifyError) and error.is_transient


def _reason(error: Exception) -> object:
    """What may be logged of an error: another's words might hold an address or a password."""
    cause = error.last_attempt.exception() if isinstance(error, RetryError) else error
    return cause if isinstance(cause, NotifyError) else type(cause).__name__
