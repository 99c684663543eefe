"""Temporary signal handlers."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def handling(handler: Callable[[int, FrameType | None], object], *numbers: signal.Signals) -> Iterator[None]:
    """Let `handler` receive these signals until the block has ended. For the main thread."""
    before = {}
    try:
        for number in numbers:
            before[number] = signal.signal(number, handler)
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Delay Ctrl-C and SIGTERM until the block has ended.

    During a step they raise an error at any point. While an event is written, that would leave the event log's transaction
    open, and the failure of the run could not be recorded.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals interrupt the main thread only
        return
    received: list[int] = []
    try:
        with handling(lambda number, _: received.append(number), signal.SIGINT, signal.SIGTERM):
            yield
    finally:
        if received:
            signal.raise_signal(received[0])
