"""The bounded queue between the socket and its readers: frames and connection events in one order."""

import threading
from collections import deque
from dataclasses import dataclass
from typing import Literal

from tapewatch.feeds.stream.decode.decoder import Frame

MarkerKind = Literal["connected", "disconnected", "dropped", "refused"]
#: Memory of a frame beside its bytes.
_FRAME_OVERHEAD = 128


@dataclass(frozen=True, slots=True)
class Marker:
    """A connection event, in its place among the frames.

    Attributes:
        kind: `connected`; `disconnected`, detail is the cause; `dropped`, frames did not fit into the queue; `refused`, by the
            server (authentication, too many connections, a channel that the plan lacks).
        at_ns: when it began, by this machine's clock, int64 ns UTC.
        count: the number of frames `dropped`.
    """

    kind: MarkerKind
    at_ns: int
    detail: str = ""
    count: int = 0


class FrameQueue:
    """Passes frames and markers between threads. Producers never wait: frames that do not fit are dropped and counted, and a
    `dropped` marker takes their place.

    Args:
        max_bytes: the limit on the bytes of all queued frames; an empty queue accepts any frame. Markers always fit.
    """

    def __init__(self, max_bytes: int) -> None:
        if max_bytes < 1:
            raise ValueError(f"a queue of {max_bytes} bytes holds nothing: max_bytes must be at least 1")
        self.max_bytes = max_bytes
        self._items: deque[Frame | Marker] = deque()
        self._ready = threading.Condition(threading.Lock())
        self._bytes = 0
        self._high_water = 0
        self._dropped = 0
        self._run_of_drops: tuple[int, int] | None = None
        self._is_closed = False

    def put(self, frame: Frame) -> bool:
        """Append a frame; False if it was dropped because the queue is full or closed."""
        cost = len(frame.data) + _FRAME_OVERHEAD
        with self._ready:
            if self._is_closed:
                self._dropped += 1
                return False
            if self._bytes and self._bytes + cost > self.max_bytes:
                since, count = self._run_of_drops or (frame.received_ns, 0)
                self._run_of_drops = since, count + 1
                self._dropped += 1
                return False
            self._report_drops()
            self._items.append(frame)
            self._bytes += cost
            self._high_water = max(self._high_water, self._bytes)
            self._ready.notify()
        return True

    def mark(self, marker: Marker) -> None:
        """Append a marker, after a `dropped` one if frames were dropped before it."""
        with self._ready:
            self._report_drops()
            self._items.append(marker)
            self._ready.notify()

    def take(self, max_frames: int, timeout_s: float) -> list[Frame | Marker]:
        """Up to `max_frames` items in order; waits up to `timeout_s` for the first, and returns none after that.

        If the queue is empty, dropped frames are reported now rather than with the next frame.
        """
        with self._ready:
            if not self._items and self._run_of_drops is None and not self._is_closed:
                self._ready.wait_for(lambda: self._items or self._is_closed, timeout_s)
            if not self._items:
                self._report_drops()
            taken = [self._items.popleft() for _ in range(min(max_frames, len(self._items)))]
            self._bytes -= sum(len(item.data) + _FRAME_OVERHEAD for item in taken if isinstance(item, Frame))
            return taken

    def close(self) -> None:
        """Accept no more frames and wake all waiting threads; queued items can still be taken."""
        with self._ready:
            self._is_closed = True
            self._ready.notify_all()

    def _report_drops(self) -> None:
        if self._run_of_drops is not None:
            since, count = self._run_of_drops
            self._run_of_drops = None
            self._items.append(Marker("dropped", since, f"the queue held its {self.max_bytes:,} bytes", count))

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._is_closed

    @property
    def depth(self) -> int:
        """Items waiting."""
        return len(self._items)

    @property
    def depth_bytes(self) -> int:
        """Bytes waiting."""
        return self._bytes

    @property
    def high_water(self) -> int:
        """The most bytes that ever waited."""
        return self._high_water

    @property
    def dropped(self) -> int:
        """Frames dropped so far."""
        return self._dropped
