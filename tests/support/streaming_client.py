"""A `StreamClient` in its own thread, and the items taken from its queue."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tapewatch.feeds.stream.client import StreamClient, StreamError
from tapewatch.feeds.stream.decode.decoder import Frame, FrameDecoder
from tapewatch.feeds.stream.policy import ConnectionPolicy
from tapewatch.feeds.stream.queue import FrameQueue, Marker
from tapewatch.market.instruments import Market
from tests.support.scripted_stream import KEY

#: Maximum wait on a busy machine.
PATIENCE_S = 180.0
#: Short waits between attempts and long timeouts; tests of missing replies use shorter timeouts.
QUICK = ConnectionPolicy(
    first_wait_s=0.01,
    longest_wait_s=0.05,
    crowded_wait_s=0.3,
    healthy_after_s=30,
    open_timeout_s=60,
    reply_timeout_s=60,
    close_timeout_s=60,
    ping_interval_s=0.1,
    ping_timeout_s=60,
)


class Running:
    """The client, its thread, and the frames and markers taken so far."""

    def __init__(
        self, url: str, subscriptions: Sequence[str], policy: ConnectionPolicy = QUICK, key: str = KEY
    ) -> None:
        self.queue = FrameQueue(1_000_000_000)
        self.client = StreamClient(url, key, subscriptions, self.queue, policy)
        self.items: list[Frame | Marker] = []
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            asyncio.run(self.client.run())
        except StreamError as error:
            self.error = error

    def until(self, is_reached: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
        """Take items until a condition holds."""
        deadline = time.monotonic() + patience_s
        while not is_reached():
            assert time.monotonic() < deadline, (self.client.stats, self.items[-5:])
            self.items += self.queue.take(1000, 0.02)

    @property
    def frames(self) -> list[Frame]:
        """The frames taken so far."""
        return [item for item in self.items if isinstance(item, Frame)]

    def markers(self, kind: str) -> list[Marker]:
        """The markers of a kind taken so far."""
        return [item for item in self.items if isinstance(item, Marker) and item.kind == kind]

    def numbers(self) -> list[int | None]:
        """The sequence numbers of the stock trades taken so far."""
        return FrameDecoder(Market.STOCKS).decode(self.frames).trades["sequence_number"].to_list()

    def end(self) -> None:
        """Stop, and take the remaining items."""
        self.client.stop()
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()
        self.items += self.queue.take(1_000_000, 0)


@contextmanager
def running(
    url: str, subscriptions: Sequence[str], policy: ConnectionPolicy = QUICK, key: str = KEY
) -> Iterator[Running]:
    """A client that is stopped at the end."""
    client = Running(url, subscriptions, policy, key)
    try:
        yield client
    finally:
        client.end()
