"""Where a step may not be struck by Ctrl-C."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_STOPPING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait until the block has ended.

    While a step runs they are raised as an error wherever it stands. Struck in the middle of telling Dagster of an event, it
    would leave the event log's transaction open, and the failure of the run could not be written any more.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is ever struck
        return
    received: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)

    before = {}
    try:
        for number in _STOPPING:
            before[number] = signal.signal(number, note)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if received:
            signal.raise_signal(received[0])
