"""Dagster's event log in SQLite, for a process that writes many events."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from dagster import EventLogEntry
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
from dagster._core.storage.sql import create_engine
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine
from sqlalchemy.event import listen
from sqlalchemy.pool import QueuePool


class HeldEventLog(SqliteEventLogStorage):
    """Dagster's own log, of which each database that this process writes stays open until `dispose`.

    Dagster opens a database anew several times an event, and SQLite empties its journal whenever the last connection closes,
    which takes CPU time and several waits for the disk. A crash of the machine may lose the last events, a killed process none.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._open: dict[str, Engine] = {}
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> "HeldEventLog":
        return cls(inst_data=inst_data, **config_value)

    def store_event(self, event: EventLogEntry) -> None:
        self._hold(event.run_id)
        super().store_event(event)
        # Dagster's pages wait for a change of this file; until it is emptied, only its journal changes.
        os.utime(self.path_for_shard(event.run_id))

    def dispose(self) -> None:
        super().dispose()
        with self._db_lock:
            for engine in self._open.values():
                engine.dispose()
            self._open.clear()

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        if shard == INDEX_SHARD_NAME:
            self._hold(shard)
        if shard not in self._open:
            with super()._connect(shard) as connection:
                yield connection
            return
        with self._db_lock, self._open[shard].connect() as connection, connection.begin():
            yield connection

    def _hold(self, shard: str) -> None:
        with self._db_lock:
            if shard in self._open:
                return
            # Any thread may use the connection that is kept, or dispose of it; a query within another has one more.
            settings = {"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False}
            engine = create_engine(
                self.conn_string_for_shard(shard),
                poolclass=QueuePool,
                pool_size=1,
                max_overflow=-1,
                connect_args=settings,
            )
            listen(engine, "connect", _sync_at_checkpoints)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            self._open[shard] = engine


def _sync_at_checkpoints(connection: sqlite3.Connection, _record: object) -> None:
    with closing(connection.cursor()) as cursor:
        cursor.execute("PRAGMA synchronous=NORMAL")
