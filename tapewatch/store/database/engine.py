"""Connections and transactions on SQLite and PostgreSQL, and the meaning of their errors."""

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

from tapewatch.masking import masked

#: How long a writer waits for another's lock, in seconds.
PATIENCE_S = 30.0
_READS_ONLY = "tapewatch_reads_only"
_TURN = "tapewatch_turn"
_USED, _IDLE_S = "tapewatch_used", 1.0
#: A server that disappears is given up within a minute, not after TCP's two hours. The URL may override this.
_POSTGRES = {
    "application_name": "tapewatch",
    "connect_timeout": 10,
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 50_000,
}
#: Transient classes of SQLSTATE: connection lost, out of disk or connections, shutdown, rolled back by a conflict.
_TRANSIENT_STATES = ("08", "53", "57P", "40", "55P03")
_TRANSIENT_SQLITE = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL")
_MISTAKES = re.compile(
    r"authentication failed|does not exist|pg_hba\.conf|no password supplied|could not translate host"
)


class DatabaseError(RuntimeError):
    """The database refuses or cannot be reached; the message names its address, without the password.

    `is_transient` is true if the same call may succeed later: the connection was lost, the server restarts, a lock was not
    released in time, the disk is full.
    """

    def __init__(self, message: str, *, is_transient: bool = False) -> None:
        super().__init__(message)
        self.is_transient = is_transient


def parse(url: str) -> URL:
    """A SQLAlchemy URL of SQLite or PostgreSQL.

    `postgresql://` becomes `postgresql+psycopg2://`: SQLAlchemy 2.1 reads the bare name as psycopg 3, which is not installed.

    Raises:
        DatabaseError: it cannot be read, or names another engine.
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
            f"database {masked(parsed.render_as_string(hide_password=True))}: {parsed.drivername} is not known; {wanted}"
        )
    return parsed


def connect(url: URL, patience_s: float = PATIENCE_S) -> Engine:
    """An engine for the URL; a lost connection is replaced when it is next used.

    Raises:
        DatabaseError: the PostgreSQL driver is not installed.
    """
    if url.get_backend_name() != "sqlite":
        try:
            ours = {name: value for name, value in _POSTGRES.items() if name not in url.query}
            engine = sa.create_engine(url, connect_args=ours)
        except ModuleNotFoundError as error:
            raise DatabaseError(f"PostgreSQL needs its driver: pip install 'tapewatch[postgres]' ({error})") from error
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
    # A connection used a moment ago is not pinged: that would cost an alert a round trip. And if every new connection broke,
    # the pool would give up with an error of its own, which hides the cause.
    used = record.info.get(_USED)
    if used is None or time.monotonic() - used < _IDLE_S:
        return
    try:
        dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error as error:
        raise sa.exc.DisconnectionError from error


def _prepare_sqlite(connection: DBAPIConnection, patience_s: float) -> None:
    # The driver would begin transactions late; `_begin_sqlite` begins them instead.
    connection.isolation_level = None
    cursor = connection.cursor()
    try:
        _write_ahead(cursor, time.monotonic() + patience_s)
        cursor.execute("PRAGMA synchronous = NORMAL")
    finally:
        cursor.close()


def _write_ahead(cursor: DBAPICursor, deadline: float) -> None:
    # If several processes open a new file at once, SQLite refuses the switch to all but one without waiting.
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
    # A transaction that reads first and writes later fails if another writer was quicker; BEGIN IMMEDIATE waits for it.
    reads_only = connection.get_execution_options().get(_READS_ONLY, False)
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")


@contextmanager
def transaction(engine: Engine, *, reads_only: bool = False, is_one_statement: bool = False) -> Iterator[Connection]:
    """A transaction that is committed at the end and rolled back on an error.

    With `is_one_statement` PostgreSQL runs the statement in autocommit mode: one round trip in place of three.

    Raises:
        DatabaseError: for every error of the driver.
        ValueError: a value cannot be bound, such as a time without a zone.
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
    """Let the threads of this process write to a SQLite file one after the other.

    A thread that waits for SQLite's own lock sleeps up to a tenth of a second at a time: too long for an alert. Other processes
    wait for SQLite's lock, and so does a thread that got no turn in time.
    """
    lock, patience_s = engine.get_execution_options().get(_TURN, (None, 0.0))
    has_turn = lock is not None and lock.acquire(timeout=patience_s)
    try:
        yield
    finally:
        if has_turn:
            lock.release()


def refusal(engine: Engine, cause: BaseException) -> DatabaseError:
    """The driver's error as a DatabaseError that names the address without its password."""
    address = masked(engine.url.render_as_string(hide_password=True))
    said = str(cause).strip()
    hint = ""
    if getattr(cause, "sqlite_errorname", "").startswith(_TRANSIENT_SQLITE[:2]):
        hint = f": another process keeps a transaction open on {engine.url.database}; end it, or try again later"
    return DatabaseError(f"database {address}: {said}{hint}", is_transient=is_transient(cause))


def is_transient(cause: BaseException) -> bool:
    """Whether the same statement may succeed later."""
    if isinstance(cause, sa.exc.TimeoutError):
        return True
    name = getattr(cause, "sqlite_errorname", None)
    if name is not None:
        return str(name).startswith(_TRANSIENT_SQLITE)
    if not hasattr(cause, "pgcode"):
        return False
    if cause.pgcode is not None:
        return str(cause.pgcode).startswith(_TRANSIENT_STATES)
    # Without a state from the server, the connection broke or was never made.
    is_connection = type(cause).__name__ in ("OperationalError", "InterfaceError", "DatabaseError")
    return is_connection and not _MISTAKES.search(str(cause))
