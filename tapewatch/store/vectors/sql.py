"""Vectors in SQLite or PostgreSQL: one row per view and key, replaced in one transaction per batch."""

import re
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tapewatch.masking import masked
from tapewatch.store.vectors.vectors import Vector, VectorsError, newest

_TABLE = """CREATE TABLE IF NOT EXISTS online_vectors (
    view {text} NOT NULL, key {blob} NOT NULL, event_us BIGINT NOT NULL, known_us BIGINT NOT NULL, content {blob} NOT NULL,
    PRIMARY KEY (view, key)
){suffix}"""
#: The condition is judged within the statement, so that of two writers the newer one wins whatever their order.
_WRITE = """INSERT INTO online_vectors (view, key, event_us, known_us, content) VALUES {values}
ON CONFLICT (view, key) DO UPDATE
SET event_us = excluded.event_us, known_us = excluded.known_us, content = excluded.content
WHERE (excluded.event_us, excluded.known_us) >= (online_vectors.event_us, online_vectors.known_us)"""
_READ = "SELECT key, event_us, known_us, content FROM online_vectors WHERE view = {mark} AND key IN ({marks})"
_REMOVE = "DELETE FROM online_vectors WHERE view = {mark}"
_BUSY_S = 30.0
_CONNECT_S = 5
#: Of the parameters that a statement may have in every SQLite.
_MOST_KEYS = 900


class SqliteVectors:
    """Vectors in a SQLite file, which is created with its folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None

    def prepare(self) -> None:
        with self._using() as connection:
            connection.execute(_TABLE.format(text="TEXT", blob="BLOB", suffix=" WITHOUT ROWID"))

    def write(self, view: str, vectors: Sequence[Vector]) -> None:
        rows = [(view, v.key, v.event_us, v.known_us, v.content) for v in newest(vectors)]
        with self._using() as connection, connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(_WRITE.format(values="(?, ?, ?, ?, ?)"), rows)

    def read(self, view: str, keys: Sequence[bytes]) -> list[Vector | None]:
        with self._using() as connection:
            return _read(keys, lambda part: connection.execute(_reading("?", part), (view, *part)).fetchall())

    def remove(self, view: str) -> None:
        with self._using() as connection, connection:
            connection.execute(_REMOVE.format(mark="?"), (view,))

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._lock:
                if self._connection is None:
                    self._path.parent.mkdir(parents=True, exist_ok=True)
                    self._connection = sqlite3.connect(
                        self._path, timeout=_BUSY_S, check_same_thread=False, isolation_level=None
                    )
                    self._connection.execute("PRAGMA journal_mode=WAL")
                    self._connection.execute("PRAGMA synchronous=NORMAL")
                yield self._connection
        except (sqlite3.Error, OSError) as error:
            raise VectorsError(f"the online store {self._path} cannot be used: {error}{_hint(str(error))}") from error


class PostgresVectors:
    """Vectors in a PostgreSQL database; a lost connection is opened again by the next call."""

    def __init__(self, url: str) -> None:
        # SQLAlchemy's addresses may name a driver, those of libpq may not.
        self._url = re.sub(r"^postgres(?:ql)?(?:\+\w+)?://", "postgresql://", url)
        self._lock = threading.RLock()
        self._connection: Any = None

    def prepare(self) -> None:
        self._run(lambda cursor: cursor.execute(_TABLE.format(text="TEXT", blob="BYTEA", suffix="")))

    def write(self, view: str, vectors: Sequence[Vector]) -> None:
        from psycopg2.extras import execute_values  # noqa: PLC0415 - an optional dependency

        rows = [(view, v.key, v.event_us, v.known_us, v.content) for v in newest(vectors)]
        if rows:
            self._run(lambda cursor: execute_values(cursor, _WRITE.format(values="%s"), rows))

    def read(self, view: str, keys: Sequence[bytes]) -> list[Vector | None]:
        def fetch(cursor: Any, part: Sequence[bytes]) -> list[Any]:
            cursor.execute(_reading("%s", part), (view, *part))
            return list(cursor.fetchall())

        return self._run(lambda cursor: _read(keys, lambda part: fetch(cursor, part)))  # type: ignore[no-any-return]

    def remove(self, view: str) -> None:
        self._run(lambda cursor: cursor.execute(_REMOVE.format(mark="%s"), (view,)))

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _run(self, work: Callable[[Any], Any]) -> Any:
        """One transaction."""
        try:
            import psycopg2  # noqa: PLC0415 - as above
        except ModuleNotFoundError as error:
            raise VectorsError("the online store in PostgreSQL needs: pip install 'tapewatch[postgres]'") from error
        try:
            with self._lock:
                if self._connection is None or self._connection.closed:
                    self._connection = psycopg2.connect(self._url, connect_timeout=_CONNECT_S)
                with self._connection, self._connection.cursor() as cursor:
                    return work(cursor)
        except psycopg2.Error as error:
            reason = masked(str(error).strip().partition("\n")[0])
            raise VectorsError(
                f"the online store {masked(self._url)} (TAPEWATCH_ONLINE_DATABASE_URL) cannot be used: {reason}"
                f"{_hint(reason)}: correct the address or start the server"
            ) from error


def _reading(mark: str, keys: Sequence[bytes]) -> str:
    return _READ.format(mark=mark, marks=", ".join([mark] * len(keys)))


def _read(keys: Sequence[bytes], fetch: Callable[[Sequence[bytes]], list[Any]]) -> list[Vector | None]:
    found: dict[bytes, Vector] = {}
    for start in range(0, len(keys), _MOST_KEYS):
        for key, event_us, known_us, content in fetch(keys[start : start + _MOST_KEYS]):
            found[bytes(key)] = Vector(bytes(key), event_us, known_us, bytes(content))
    return [found.get(key) for key in keys]


def _hint(reason: str) -> str:
    is_new = "online_vectors" in reason and ("no such table" in reason or "does not exist" in reason)
    return ": run `feast -c feature_repo apply` first" if is_new else ""
