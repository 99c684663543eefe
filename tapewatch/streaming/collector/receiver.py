"""The receiving side of a collector: connects while the market is collected, and counts what arrives."""

import asyncio
import datetime as dt
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable

from tapewatch.feeds.stream.client import StreamClient
from tapewatch.market.instruments import NS_PER_SECOND, Market
from tapewatch.streaming.collector.hours import LONGEST_SLEEP_S, next_hours
from tapewatch.streaming.stop import Stop

_log = logging.getLogger(__name__)
#: Time to leave a connection: a little longer than the closing handshake may take.
_LEAVE_S = 3.0
_SAMPLE_S = 0.25
_TOTALS = ("frames", "bytes", "connections")


class Receiver:
    """Keeps one market's stream connected, always or around its sessions.

    Args:
        stopping: ends `run`.
        in_sessions: connect around sessions only, for a plan whose tape is `delay_ns` late.
        sample: called several times a second while connected.

    Attributes:
        phase: `starting`, `asleep` (`detail` says until when), or `streaming`.
        session_over: set when a session has ended; the reader clears it.
    """

    def __init__(
        self,
        market: Market,
        connect: Callable[[], StreamClient],
        stopping: Stop,
        *,
        in_sessions: bool,
        delay_ns: int,
        sample: Callable[[], None],
    ) -> None:
        self.phase, self.detail = "starting", ""
        self.session_over = threading.Event()
        self._market, self._connect, self._stopping = market, connect, stopping
        self._in_sessions, self._delay_ns = in_sessions, delay_ns
        self._sample = sample
        self._client: StreamClient | None = None
        self._earlier: Counter[str] = Counter()
        self._failure: BaseException | None = None

    @property
    def state(self) -> str:
        """The state of the connection, or the phase where there is none."""
        if self.phase != "streaming":
            return self.phase
        if self._stopping.is_set():
            return "stopping"
        client = self._client
        return "idle" if client is None else client.stats.state

    def total(self, name: str) -> int:
        """`frames`, `bytes` or `connections` of all clients so far."""
        client = self._client
        return self._earlier[name] + (0 if client is None else int(getattr(client.stats, name)))

    def run(self) -> None:
        """Receive until stopped; raises what ended the receiving thread."""
        while not self._stopping.is_set():
            end_ns: int | None = None
            if self._in_sessions:
                hours = next_hours(self._market, time.time_ns(), delay_ns=self._delay_ns)
                if not hours.contain(time.time_ns()):
                    self._sleep_until(hours.start_ns)
                    continue
                end_ns = hours.end_ns
            self._stream(end_ns)
        if self._failure is not None:
            raise self._failure

    def _sleep_until(self, start_ns: int) -> None:
        if self.phase != "asleep":
            until = dt.datetime.fromtimestamp(start_ns // NS_PER_SECOND, dt.UTC)
            self.phase, self.detail = "asleep", f"until {until:%Y-%m-%d %H:%M}Z"
            _log.info("the market is closed: asleep %s", self.detail)
        # In short naps: the wall clock may be corrected meanwhile.
        self._stopping.wait(max(0.1, min(LONGEST_SLEEP_S, (start_ns - time.time_ns()) / NS_PER_SECOND)))

    def _stream(self, end_ns: int | None) -> None:
        """Stream until stopped, or until the wall clock reaches `end_ns`."""
        self.phase, self.detail = "streaming", ""
        client = self._client = self._connect()
        thread = threading.Thread(target=self._receive, args=(client,), name="receiver", daemon=True)
        thread.start()
        is_over = False
        while thread.is_alive() and not self._stopping.is_set() and not is_over:
            is_over = end_ns is not None and time.time_ns() >= end_ns
            self._sample()
            self._stopping.wait(_SAMPLE_S)
        client.stop()
        # A client that still resolves a host name may take as long as the system allows: it is left behind.
        thread.join(_LEAVE_S)
        self._earlier = Counter({name: self.total(name) for name in _TOTALS})
        self._client = None
        if is_over:
            _log.info("the session is over")
            self.session_over.set()

    def _receive(self, client: StreamClient) -> None:
        try:
            asyncio.run(client.run())
        except BaseException as error:  # noqa: BLE001 - `run` raises it
            self._failure = error
            self._stopping.set()
