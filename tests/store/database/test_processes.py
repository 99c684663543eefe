"""Several processes on one database, long locks, and a server that stops and starts."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa

from tapewatch.market.tables.live import ALERTS, LIVE_BARS
from tapewatch.store.database import engine
from tapewatch.store.database.database import Database, DatabaseError
from tapewatch.store.database.engine import is_transient
from tests.support.database_processes import DAY as MONDAY
from tests.support.database_processes import ROWS, run_together, write_the_same_rows
from tests.support.live_rows import rows_of
from tests.support.postgres import PostgresServer, postgres_server

WRITERS = 3


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'tapewatch.db'}"
    return str(request.getfixturevalue("server").database())


@pytest.mark.slow
def test_processes_may_write_the_same_keys_at_the_same_time(url: str) -> None:
    assert run_together(write_the_same_rows, url, WRITERS) == ["done"] * WRITERS
    with Database(url) as database:
        bars = database.read(LIVE_BARS)
    assert bars.height == ROWS
    # Every row is from one writer.
    assert (bars["revision"].cast(pl.Float64) == bars["volume"]).all()
    assert bars["revision"].is_in(range(WRITERS)).all()


def test_a_writer_waits_for_another_and_its_error_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "tapewatch.db"
    rows = rows_of(ALERTS, 3)
    with Database(f"sqlite:///{file}", patience_s=0.2) as database:
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(
            DatabaseError, match=r"another process keeps a transaction open on .*tapewatch\.db"
        ) as caught:
            database.upsert(ALERTS, MONDAY, rows)
        assert caught.value.is_transient
        assert database.read(ALERTS).height == 0
        other.execute("COMMIT")
        assert database.upsert(ALERTS, MONDAY, rows) == 3
        other.close()


def test_a_reader_does_not_block_a_writer(tmp_path: Path) -> None:
    file = tmp_path / "tapewatch.db"
    with Database(f"sqlite:///{file}", patience_s=0.2) as database:
        reader = sqlite3.connect(file, isolation_level=None)
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM alerts").fetchone() == (0,)
        database.upsert(ALERTS, MONDAY, rows_of(ALERTS, 3))
        assert reader.execute("SELECT count(*) FROM alerts").fetchone() == (0,)
        reader.execute("COMMIT")
        assert reader.execute("SELECT count(*) FROM alerts").fetchone() == (3,)
        reader.close()


def test_a_full_disk_is_transient_and_nothing_is_half_written(tmp_path: Path) -> None:
    with Database(f"sqlite:///{tmp_path / 'tapewatch.db'}") as database:
        database.upsert(ALERTS, MONDAY, rows_of(ALERTS, 3))
        with database.engine.connect() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(DatabaseError, match="full") as caught:
            database.upsert(ALERTS, MONDAY, rows_of(ALERTS, 2_000))
        assert caught.value.is_transient
        assert database.read(ALERTS).height == 3
        with database.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count = 100000")
        assert database.upsert(ALERTS, MONDAY, rows_of(ALERTS, 2_000)) == 2_000


def test_the_error_names_a_file_that_a_reader_locks(tmp_path: Path) -> None:
    file = tmp_path / "tapewatch.db"
    with Database(f"sqlite:///{file}") as database:
        database.upsert(ALERTS, MONDAY, rows_of(ALERTS, 3))
    tool = sqlite3.connect(file, isolation_level=None)
    tool.execute("PRAGMA locking_mode = EXCLUSIVE")
    tool.execute("BEGIN EXCLUSIVE")
    with pytest.raises(DatabaseError, match=r"locked.*tapewatch\.db") as caught:
        Database(f"sqlite:///{file}", patience_s=0.1)
    assert caught.value.is_transient
    tool.close()


@pytest.mark.slow
def test_a_server_that_is_stopped_and_started_loses_nothing_that_was_written(server: PostgresServer) -> None:
    first, second = rows_of(LIVE_BARS, 200), rows_of(ALERTS, 5)
    with Database(server.database()) as database:
        database.upsert(LIVE_BARS, MONDAY, first)
        server.stop()
        for refused in (lambda: database.upsert(ALERTS, MONDAY, second), lambda: database.read(LIVE_BARS)):
            with pytest.raises(DatabaseError) as caught:
                refused()
            assert caught.value.is_transient
        server.start()
        assert database.upsert(ALERTS, MONDAY, second) == 5
        assert database.read(LIVE_BARS).height == 200


@pytest.mark.slow
def test_a_connection_that_is_cut_within_a_transaction_is_transient_and_replaced(server: PostgresServer) -> None:
    rows = rows_of(LIVE_BARS, 200)
    with Database(server.database()) as database, Database(server.url) as operator:
        database.upsert(LIVE_BARS, MONDAY, rows)
        with operator.engine.connect() as connection, connection.begin(), database.engine.connect() as victim:
            pid = victim.scalar(sa.text("SELECT pg_backend_pid()"))
            connection.execute(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
            with pytest.raises(sa.exc.DBAPIError) as caught:
                victim.execute(sa.text("SELECT 1"))
            assert is_transient(caught.value.orig)
        assert database.upsert(LIVE_BARS, MONDAY, rows) == 200
        assert database.read(LIVE_BARS).height == 200


@pytest.mark.slow
def test_connections_that_break_as_soon_as_they_are_made_are_transient(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As from a proxy whose server is down.
    monkeypatch.setattr(engine, "_IDLE_S", 0.0)
    with Database(server.database()) as database:
        dialect = database.engine.dialect

        def refuse(*_: object) -> None:
            raise dialect.loaded_dbapi.OperationalError("server closed the connection unexpectedly")

        with monkeypatch.context() as broken:
            broken.setattr(dialect, "do_ping", refuse)
            broken.setattr(dialect, "do_execute", refuse)
            with pytest.raises(DatabaseError, match="closed the connection") as caught:
                database.read(ALERTS)
            assert caught.value.is_transient
        assert database.read(ALERTS).height == 0


@pytest.mark.slow
def test_a_wrong_address_or_statement_is_not_transient(server: PostgresServer) -> None:
    absent = sa.make_url(server.url).set(database="nowhere").render_as_string(hide_password=False)
    with pytest.raises(DatabaseError, match="nowhere") as caught:
        Database(absent)
    assert not caught.value.is_transient
    with Database(server.database()) as database, database.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE alerts RENAME TO somewhere_else"))
    with Database(database.url.render_as_string(hide_password=False)) as database:
        with pytest.raises(DatabaseError, match="alerts") as caught:
            database.read(ALERTS)
        assert not caught.value.is_transient


def test_an_unreachable_server_is_a_transient_error() -> None:
    with pytest.raises(DatabaseError, match=r"127\.0\.0\.1") as caught:
        Database("postgresql+psycopg2://127.0.0.1:1/tapewatch")
    assert caught.value.is_transient
