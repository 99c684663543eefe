"""The rate limit of a plan, shared by all threads of this process that use the same key."""

import hashlib
import threading
from typing import Final

from pyrate_limiter import Limiter, Rate

from tapewatch.feeds.errors import CancelledError

_POLL_S: Final = 0.02

_budgets: dict[tuple[str, str, int, float], Limiter] = {}
_lock = threading.Lock()


def spend(base_url: str, key: str, rate: tuple[int, float], cancelled: threading.Event) -> None:
    """Wait until `rate` (calls, seconds) allows one more call, and count it.

    Raises:
        CancelledError: `cancelled` was set before that.
    """
    budget = _budget(base_url, key, rate)
    while not cancelled.is_set():
        if budget.try_acquire("call", blocking=False):
            return
        cancelled.wait(_POLL_S)
    raise CancelledError("the load was cancelled before its next call")


def _budget(base_url: str, key: str, rate: tuple[int, float]) -> Limiter:
    calls, seconds = rate
    identity = (base_url, hashlib.sha256(key.encode()).hexdigest(), calls, seconds)
    with _lock:
        if identity not in _budgets:
            # A sliding window: a token bucket may exceed, within a minute, what the vendor counts.
            _budgets[identity] = Limiter(Rate(calls, int(seconds * 1000)))
        return _budgets[identity]
