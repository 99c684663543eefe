"""Connections to SQLite and PostgreSQL, and what their refusals mean."""

import re
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor

#: How long a writer waits for another's lock, in seconds.
PATIENCE_S = 30.0
_READS_ONLY = "tapewatch_reads_only"
_TURN = "tapewatch_turn"
_USED, _IDLE_S = "tapewatch_used", 1.0
#: A server that vanished without a word is given up within a minute, not after TCP's two hours. The URL may say otherwise.
_POSTGRES = {
    "application_name": "tapewatch",
    "connect_timeout": 10,
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 50_000,
}
#: Classes of SQLSTATE that pass: connection lost, out of room or connections, shut down, given up for another's sake.
_TRANSIENT_STATES = ("08", "53", "57P", "40", "55P03")
_TRANSIENT_SQLITE = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL")
_MISTAKES = re.compile(
    r"authentication failed|does not exist|pg_hba\.conf|no password supplied|could not translate host"
)


class DatabaseError(RuntimeError):
    """The database refuses or cannot be reached; the message names its address, without the password.

    `is_transient` is true where the same call may succeed later: the connection was lost, the server restarts, a lock
    was not released in time, there is no room on the disk.
    """

    def __init__(self, message: str, *, is_transient: bool = False) -> None:
        super().__init__(message)
        self.is_transient = is_transient


def parse(url: str) -> URL:
    """A SQLAlchemy URL of SQLite or PostgreSQL.

    `postgresql://` becomes psycopg2's: from 2.1 SQLAlchemy reads the bare name as psycopg 3, which is not installed.

    Raises:
        DatabaseError: it is none, or of an engine that the platform does not know.
    """
    wanted = "write sqlite:///FILE or postgresql+psycopg2://USER@HOST/NAME"
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError) as error:
        raise DatabaseError(f"the database's URL cannot be read: {wanted}") from error
    if parsed.drivername in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg2")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg2"):
        raise DatabaseError(
            f"database {parsed.render_as_string(hide_password=True)}: {parsed.drivername} is not known; {wanted}"
        )
    return parsed


def connect(url: URL, patience_s: float = PATIENCE_S) -> Engine:
    """An engine of either kind; a lost connection is noticed and replaced when it is next wanted.

    Raises:
        DatabaseError: the driver of PostgreSQL is not installed.
    """
    if url.get_backend_name() != "sqlite":
        try:
            ours = {name: value for name, value in _POSTGRES.items() if name not in url.query}
            engine = sa.create_engine(url, connect_args=ours)
        except ModuleNotFoundError as error:
            raise DatabaseError(f"PostgreSQL wants its driver: pip install 'tapewatch[postgres]' ({error})") from error
        sa.event.listen(engine, "checkin", lambda _, record: record.info.update({_USED: time.monotonic()}))
        sa.event.listen(engine, "checkout", partial(_ping_if_idle, engine.dialect))
        return engine
    if url.database not in (None, "", ":memory:"):
        Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url, connect_args={"timeout": patience_s})
    sa.event.listen(engine, "connect", lambda connection, _: _prepare_sqlite(connection, patience_s))
    sa.event.listen(engine, "begin", _begin_sqlite)
    engine.update_execution_options(**{_TURN: (threading.Lock(), patience_s)})
    return engine


def _ping_if_idle(
    dialect: sa.Dialect, connection: DBAPIConnection, record: sa.pool.ConnectionPoolEntry, _: object
) -> None:
    # A connection that was made or in use a moment ago need not be asked: it costs an alert a round trip. And where one breaks
    # as soon as it is made, the pool would give up after some with an error of its own, which does not say what broke.
    used = record.info.get(_USED)
    if used is None or time.monotonic() - used < _IDLE_S:
        return
    try:
        dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error as error:
        raise sa.exc.DisconnectionError from error


def _prepare_sqlite(connection: DBAPIConnection, patience_s: float) -> None:
    # The driver would begin transactions late and by its own rules; `_begin_sqlite` does it instead.
    connection.isolation_level = None
    cursor = connection.cursor()
    try:
        _write_ahead(cursor, time.monotonic() + patience_s)
        cursor.execute("PRAGMA synchronous = NORMAL")
    finally:
        cursor.close()


def _write_ahead(cursor: DBAPICursor, deadline: float) -> None:
    # Processes that find a new file together all want to switch it; SQLite refuses all but one of them without waiting.
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not is_transient(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later cannot wait for another writer, only fail; one that says at once
    # that it will write waits its turn.
    reads_only = connection.get_execution_options().get(_READS_ONLY, False)
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")


@contextmanager
def transaction(engine: Engine, *, reads_only: bool = False, is_one_statement: bool = False) -> Iterator[Connection]:
    """A transaction that is committed at the end and rolled back on an error.

    With `is_one_statement` PostgreSQL is not told of its beginning and end: a statement is a transaction by itself, in one round
    trip rather than three.

    Raises:
        DatabaseError: in place of every error of the driver.
        ValueError: a value that cannot be bound, such as a time without a zone.
    """
    options: dict[str, Any] = {_READS_ONLY: reads_only}
    if is_one_statement and engine.dialect.name == "postgresql":
        options["isolation_level"] = "AUTOCOMMIT"
    try:
        with (
            nullcontext() if reads_only else _turn(engine),
            engine.execution_options(**options).begin() as connection,
        ):
            yield connection
    except sa.exc.StatementError as error:
        if isinstance(error.orig, ValueError):
            raise error.orig from error
        raise refusal(engine, error.orig or error) from error
    except sa.exc.SQLAlchemyError as error:
        raise refusal(engine, error) from error
    except engine.dialect.loaded_dbapi.Error as error:
        raise refusal(engine, error) from error


@contextmanager
def _turn(engine: Engine) -> Iterator[None]:
    """Let this process's threads write to a SQLite file one after the other, each at once when the one before is done.

    SQLite's own lock is looked at after sleeps that grow to a tenth of a second: too long for an alert. It has the last word
    all the same; other processes wait at it, and so does a thread that had no turn in time.
    """
    lock, patience_s = engine.get_execution_options().get(_TURN, (None, 0.0))
    has_turn = lock is not None and lock.acquire(timeout=patience_s)
    try:
        yield
    finally:
        if has_turn:
            lock.release()


def refusal(engine: Engine, cause: BaseException) -> DatabaseError:
    """What the driver's error means, naming the address without its password."""
    address = engine.url.render_as_string(hide_password=True)
    said = str(cause).strip()
    hint = ""
    if getattr(cause, "sqlite_errorname", "").startswith(_TRANSIENT_SQLITE[:2]):
        hint = f": another process keeps a transaction open on {engine.url.database}; end it, or try again later"
    return DatabaseError(f"database {address}: {said}{hint}", is_transient=is_transient(cause))


def is_transient(cause: BaseException) -> bool:
    """Whether the same statement may succeed later without anybody changing it."""
    if isinstance(cause, sa.exc.TimeoutError):
        return True
    name = getattr(cause, "sqlite_errorname", None)
    if name is not None:
        return str(name).startswith(_TRANSIENT_SQLITE)
    if not hasattr(cause, "pgcode"):
        return False
    if cause.pgcode is not None:
        return str(cause.pgcode).startswith(_TRANSIENT_STATES)
    # Without a state the server said nothing: the connection broke, or was never made.
    is_connection = type(cause).__name__ in ("OperationalError", "InterfaceError", "DatabaseError")
    return is_connection and not _MISTAKES.search(str(cause))
