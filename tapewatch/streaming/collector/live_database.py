"""A collector's access to the operational database, which may be unreachable for a while without delaying the tape."""

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from typing import Any, Literal

import polars as pl

from tapewatch.market.backoff import backoff_s
from tapewatch.market.instruments import Partition
from tapewatch.market.schema import Table
from tapewatch.store.database.database import Database, DatabaseError

_log = logging.getLogger(__name__)
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 5.0
_PATIENCE_S = 5.0
#: Time for the current transaction to end.
_LAST_S = 1.0
_BUFFER_ROWS = 500_000
#: Rows of one transaction: an alert may wait for one.
_CHUNK_ROWS = 250
_Method = Literal["upsert", "revise", "remove"]


class LiveDatabase:
    """A `Database` that is opened at its first use and may be unreachable.

    The methods are those of `Database`. After a transient DatabaseError the next calls raise it again at once, until the
    time of the next attempt. Safe to share between threads.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._opening = threading.Lock()
        self._database: Database | None = None
        self._failures = 0
        self._retry_at = 0.0
        self.error: str | None = None

    @property
    def is_away(self) -> bool:
        """Whether the database was unreachable at the last call."""
        return self.error is not None

    def upsert(self, table: Table, partition: Partition, frame: pl.DataFrame) -> int:
        return int(self._call("upsert", table, partition, frame))

    def revise(self, table: Table, partition: Partition, frame: pl.DataFrame) -> int:
        return int(self._call("revise", table, partition, frame))

    def remove(self, table: Table, partition: Partition, keys: pl.DataFrame) -> int:
        return int(self._call("remove", table, partition, keys))

    def read(self, table: Table, **options: Any) -> pl.DataFrame:
        found: pl.DataFrame = self._call("read", table, **options)
        return found

    def close(self) -> None:
        """Close every connection, except one that is being opened: a server may take long to refuse it."""
        if self._opening.acquire(blocking=False):
            try:
                if self._database is not None:
                    self._database.close()
                    self._database = None
            finally:
                self._opening.release()

    def _call(self, method: str, *args: object, **options: Any) -> Any:
        if self.error is not None and time.monotonic() < self._retry_at:
            raise DatabaseError(self.error, is_transient=True)
        try:
            answer = getattr(self._opened(), method)(*args, **options)
        except DatabaseError as error:
            if error.is_transient:
                self._note_failure(str(error))
            raise
        if self.error is not None:
            _log.info("the database can be reached again")
        self.error, self._failures = None, 0
        return answer

    def _opened(self) -> Database:
        with self._opening:
            if self._database is None:
                self._database = Database(self._url, patience_s=_PATIENCE_S)
            return self._database

    def _note_failure(self, reason: str) -> None:
        if self.error is None:
            _log.warning("the database is unreachable, live rows wait for it: %s", reason)
        self._retry_at = time.monotonic() + backoff_s(self._failures, _FIRST_PAUSE_S, _LONGEST_PAUSE_S)
        self._failures += 1
        self.error = reason


@dataclass(frozen=True, slots=True)
class _Rows:
    table: Table
    partition: Partition
    frame: pl.DataFrame
    method: _Method


class RowWriter:
    """Writes live rows in a thread of its own; those of one table and day in the order of the calls.

    `put` and `remove` never wait. When the buffer is full the oldest rows are dropped and counted: they are in the spool too.
    Revisions continue from those in the database, so that they grow across restarts.
    """

    def __init__(self, database: LiveDatabase, *, buffer_rows: int = _BUFFER_ROWS) -> None:
        self._database = database
        self._buffer_rows = buffer_rows
        self._waiting: dict[tuple[str, Partition], deque[_Rows]] = {}
        self._changed = threading.Condition()
        self._is_closing = self._is_over = False
        self._thread = threading.Thread(target=self._run, name="row-writer", daemon=True)
        self.rows_waiting = self.rows_dropped = self.rows_refused = self.rows_written = 0

    def start(self) -> None:
        self._thread.start()

    def put(self, table: Table, partition: Partition, frame: pl.DataFrame) -> None:
        """Write rows of a live table."""
        self._take(table, partition, frame, "revise" if "revision" in table.by_name else "upsert")

    def remove(self, table: Table, partition: Partition, keys: pl.DataFrame) -> None:
        """Remove the rows with these keys."""
        self._take(table, partition, keys, "remove")

    def close(self, timeout_s: float) -> int:
        """Write what waits, for at most about this long; returns the number of rows left."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join(timeout_s)
        # Stop even with rows left: the next collector may write by now, and the database is about to be closed.
        self._is_over = True
        self._thread.join(_LAST_S)
        return self.rows_waiting

    def _take(self, table: Table, partition: Partition, frame: pl.DataFrame, method: _Method) -> None:
        if frame.is_empty():
            return
        parts = [_Rows(table, partition, part, method) for part in frame.iter_slices(_CHUNK_ROWS)]
        with self._changed:
            self._waiting.setdefault((table.name, partition), deque()).extend(parts)
            self.rows_waiting += frame.height
            self._drop_overflow()
            self._changed.notify()

    def _run(self) -> None:
        while (rows := self._next()) is not None:
            try:
                self.rows_written += getattr(self._database, rows.method)(rows.table, rows.partition, rows.frame)
            except Exception as error:  # noqa: BLE001 - a fault of these rows must not stop the others
                if not isinstance(error, DatabaseError) or not error.is_transient:
                    self.rows_refused += rows.frame.height
                    _log.error("the database refuses %d rows of %s: %s", rows.frame.height, rows.table.name, error)
                    continue
                self._put_back(rows)
                if self._is_closing:
                    return
                time.sleep(_FIRST_PAUSE_S)

    def _next(self) -> _Rows | None:
        """The next rows of the table and day that waited longest, as many as one transaction takes; None at the end."""
        with self._changed:
            while not self._waiting:
                if self._is_closing:
                    return None
                self._changed.wait()
            if self._is_over:
                return None
            key = next(iter(self._waiting))
            first = self._pop(key)
            frames, height = [first.frame], first.frame.height
            while key in self._waiting:
                following = self._waiting[key][0]
                if following.method != first.method or following.frame.height > _CHUNK_ROWS - height:
                    break
                frames.append(self._pop(key).frame)
                height += frames[-1].height
            if key in self._waiting:
                # To the end of the line, behind the other tables.
                self._waiting[key] = self._waiting.pop(key)
        return replace(first, frame=pl.concat(frames))

    def _pop(self, key: tuple[str, Partition]) -> _Rows:
        waiting = self._waiting[key]
        rows = waiting.popleft()
        if not waiting:
            del self._waiting[key]
        self.rows_waiting -= rows.frame.height
        return rows

    def _put_back(self, rows: _Rows) -> None:
        with self._changed:
            self._waiting.setdefault((rows.table.name, rows.partition), deque()).appendleft(rows)
            self.rows_waiting += rows.frame.height
            # The buffer may have filled meanwhile.
            self._drop_overflow()

    def _drop_overflow(self) -> None:
        while self.rows_waiting > self._buffer_rows:
            self.rows_dropped += self._pop(next(iter(self._waiting))).frame.height
