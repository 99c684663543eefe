"""A request to stop that signal handlers may make."""

from contextlib import suppress
from queue import Empty, SimpleQueue


class Stop:
    """Like `threading.Event`, but a signal handler may set it.

    A handler runs in the main thread between any two of its instructions. A main thread about to wait for an Event holds
    the Event's lock, and a handler that sets the Event would wait for that lock forever.
    """

    def __init__(self) -> None:
        self._is_set = False
        # The only queue that a handler may put into, whatever it interrupts.
        self._wake: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        """Request the stop. From any thread or signal handler, any number of times."""
        self._is_set = True
        self._wake.put(None)

    def is_set(self) -> bool:
        return self._is_set

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the request, at most `timeout_s`; returns whether it was made."""
        if not self._is_set:
            with suppress(Empty):
                self._wake.get(timeout=timeout_s)
                # Wake the next thread that waits.
                self._wake.put(None)
        return self._is_set
