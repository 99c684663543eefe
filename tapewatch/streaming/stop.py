"""Being told to stop, by a signal among others."""

from contextlib import suppress
from queue import Empty, SimpleQueue


class Stop:
    """What `threading.Event` is, except that a signal handler may set it.

    A handler runs in the main thread, between any two steps of it. Where the main thread is about to wait for an Event it
    holds the Event's lock, and a handler that sets the Event would wait for that lock for ever.
    """

    def __init__(self) -> None:
        self._is_set = False
        # The one queue that a handler may put into, whatever it interrupts.
        self._wake: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        """Ask for the end. From any thread or signal handler, as often as one likes."""
        self._is_set = True
        self._wake.put(None)

    def is_set(self) -> bool:
        """Whether the end was asked for."""
        return self._is_set

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the end is asked for, at most `timeout_s`; whether it was."""
        if not self._is_set:
            with suppress(Empty):
                self._wake.get(timeout=timeout_s)
                # Whoever else waits is woken too.
                self._wake.put(None)
        return self._is_set
