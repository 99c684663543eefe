"""Compiled functions, kept on disk by any number of processes at once."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numba
from numba.core import caching

__all__ = ["njit"]


class _OneWriter(caching.IndexDataCacheFile):
    """Numba chooses a name for the code, and writes index and code, as if nobody else did.

    Two processes that compile a function for other types at the same time may choose one name: whoever calls it later would
    run the code of the other's types, and get numbers that mean nothing. So would who reads between index and code.
    """

    def save(self, key: Any, data: Any) -> None:
        with self._locked(fcntl.LOCK_EX):
            super().save(key, data)  # type: ignore[no-untyped-call]

    def load(self, key: Any) -> Any:
        with self._locked(fcntl.LOCK_SH):
            return super().load(key)  # type: ignore[no-untyped-call]

    @contextmanager
    def _locked(self, kind: int) -> Iterator[None]:
        # Writable, as network file systems want what is locked for one alone.
        lock = os.open(f"{self._index_path}.lock", os.O_CREAT | os.O_RDWR, 0o644)
        try:
            fcntl.flock(lock, kind)
            yield
        finally:
            os.close(lock)


# By this name Numba makes them, for every function.
caching.IndexDataCacheFile = _OneWriter  # type: ignore[misc]
njit = numba.njit
