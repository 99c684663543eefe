"""A cache bounded by bytes. Threads that request the same value at the same time compute it once."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Value = TypeVar("Value")


@dataclass(eq=False, slots=True)
class _Entry(Generic[Value]):
    """A value, computed under its lock."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    value: Value | None = None
    size: int = 0


class LruCache(Generic[Value]):
    """Keeps the most recently used values; the newest is kept whatever its size.

    Args:
        max_bytes: bound on the sum of `size_of`.
        size_of: a value's size in bytes.
    """

    def __init__(self, max_bytes: int, size_of: Callable[[Value], int]) -> None:
        self._max_bytes = max_bytes
        self._size_of = size_of
        self._entries: OrderedDict[Hashable, _Entry[Value]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value of `key`, computed by `make` if it is missing. An error of `make` is raised and not kept."""
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
        with entry.lock:
            if entry.value is None:
                try:
                    entry.value = make()
                except BaseException:
                    self._forget(key, entry)
                    raise
                self._keep(key, entry, entry.value)
            return entry.value

    @property
    def size(self) -> int:
        return self._bytes

    def _keep(self, key: Hashable, entry: _Entry[Value], value: Value) -> None:
        with self._lock:
            entry.size = self._size_of(value)
            if self._entries.get(key) is not entry:
                return
            self._bytes += entry.size
            for old in [other for other in self._entries if other != key]:
                if self._bytes <= self._max_bytes:
                    break
                self._bytes -= self._entries.pop(old).size

    def _forget(self, key: Hashable, entry: _Entry[Value]) -> None:
        with self._lock:
            if self._entries.get(key) is entry:
                del self._entries[key]
