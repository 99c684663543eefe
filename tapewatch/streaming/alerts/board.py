"""Sends alerts over channels, each in its own thread, with retries, deduplication and a rate limit.

No call waits for a receiver, except `close`.
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

#: Notices per channel that are remembered, so that each is sent once.
_REMEMBERED: Final = 10_000
_POLL_S: Final = 0.25


class NotifyError(RuntimeError):
    """A channel did not accept a message; `is_transient`: a retry may help. The error's message contains no secret."""

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
        """The key of a notice: an alert's opening and its end are each sent once."""
        return self.row["alert_id"], self.is_closing

    @property
    def headline(self) -> str:
        """The alert in one line."""
        state = "ended" if self.is_closing else self.row["severity"]
        return f"[{state}] {self.market} {self.row['rule']}: {self.row['message']}"


class Notifier(Protocol):
    """A channel to people."""

    @property
    def name(self) -> str:
        """The channel's name in the log and the metrics; contains no secret."""

    def send(self, notice: Notice) -> None:
        """Send one alert; raises NotifyError."""

    def send_summary(self, text: str) -> None:
        """Send a summary of the notices that were held back; raises NotifyError."""


@dataclass(slots=True)
class Tally:
    """Counts of a channel's notices by outcome."""

    sent: int = 0
    repeated: int = 0
    held_back: int = 0
    failed: int = 0
    dropped: int = 0


class NoticeBoard:
    """Passes notices to channels. A slow or failing channel delays neither the other channels nor the caller.

    Args:
        channels: where notices are sent.
        per_minute: messages per minute and channel; further notices are held back, counted, and summarised in one message.
        attempts: attempts per message, with pauses between them that double and vary at random.
        first_pause_s: pause after the first failed attempt.
        capacity: notices that may wait for one channel; further ones are dropped, counted and logged.
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
        """Counts of notices by outcome, for each channel."""
        return {worker.channel.name: worker.tally for worker in self._workers}

    def announce(self, notice: Notice) -> None:
        """Pass a notice to every channel; returns at once."""
        for worker in self._workers:
            worker.put(notice)

    def close(self, timeout_s: float = 5.0) -> None:
        """Send waiting notices and summaries for at most `timeout_s`; the rest is counted as dropped and logged."""
        deadline = time.monotonic() + timeout_s
        self.begin_close()
        for worker in self._workers:
            worker.finish(max(0.0, deadline - time.monotonic()))

    def begin_close(self) -> None:
        """Let every channel send its waiting notices and its summary, then stop. Nothing may be announced afterwards."""
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
        self._seen: OrderedDict[tuple[str, bool], None] = OrderedDict()
        self._held_back: Counter[str] = Counter()
        self._held_lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"notify-{channel.name}", daemon=True)
        self._thread.start()

    def put(self, notice: Notice) -> None:
        try:
            self._queue.put_nowait(notice)
        except queue.Full:
            self.tally.dropped += 1
            self._hold_back(notice)
            _log.error(
                "%s: %d messages wait already, dropped: %s", self.channel.name, self._queue.maxsize, notice.headline
            )

    def _hold_back(self, notice: Notice) -> None:
        with self._held_lock:
            self._held_back[notice.row["rule"]] += 1

    def begin_close(self) -> None:
        self._closing.set()

    def finish(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)
        left = self._queue.qsize()
        if left:
            self.tally.dropped += left
            _log.error("%s: %d messages were not sent before the process ended", self.channel.name, left)

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
        if notice.identity in self._seen:
            self.tally.repeated += 1
            return
        self._seen[notice.identity] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        if not self._limiter.try_acquire(self.channel.name, blocking=False):
            self.tally.held_back += 1
            self._hold_back(notice)
        else:
            self._deliver(notice)

    def _deliver(self, notice: Notice) -> None:
        try:
            self._retrying(self.channel.send, notice)
            self.tally.sent += 1
        except Exception as error:  # noqa: BLE001 - the channel must go on with the next alert
            self.tally.failed += 1
            _log.error("%s: could not send %s: %s", self.channel.name, notice.headline, _reason(error))

    def _summarise(self, *, is_last: bool) -> None:
        if not self._held_back or not (is_last or self._limiter.try_acquire(self.channel.name, blocking=False)):
            return
        with self._held_lock:
            held, self._held_back = self._held_back, Counter()
        parts = ", ".join(f"{count} {rule}" for rule, count in held.most_common())
        text = f"{held.total()} messages about alerts were held back: {parts}. All alerts are in the database."
        try:
            self._retrying(self.channel.send_summary, text)
        except Exception as error:  # noqa: BLE001 - as above
            self.tally.failed += 1
            _log.error("%s: could not send a summary: %s (%s)", self.channel.name, _reason(error), text)


def _is_worth_another_try(error: BaseException) -> bool:
    return isinstance(error, NotifyError) and error.is_transient


def _reason(error: Exception) -> object:
    """What may be logged of an error. Messages of other libraries may contain an address or a password."""
    cause = error.last_attempt.exception() if isinstance(error, RetryError) else error
    return cause if isinstance(cause, NotifyError) else type(cause).__name__
