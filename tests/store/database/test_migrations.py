"""Revisions lead to the definitions, keep older rows, and are run by one process."""

import datetime as dt
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.live import ALERTS, GAPS
from tapewatch.store.database import schema
from tapewatch.store.database.database import Database, DatabaseError
from tapewatch.store.database.migrations import HEAD, REVISIONS, VERSIONS
from tapewatch.store.database.schema import COMPARISON, VERSION_TABLE, alembic_config, revision_of
from tapewatch.store.database.tables import metadata
from tests.support.anomalies import OPEN, event, events
from tests.support.database_processes import open_it, run_together
from tests.support.live_rows import rows_of
from tests.support.postgres import PostgresServer

MONDAY = Partition(OPEN.date(), Market.STOCKS)
#: What the platform made before it kept revisions.
_BEFORE_REVISIONS = """
CREATE TABLE anomalies (
    market TEXT NOT NULL, date DATE NOT NULL, symbol TEXT NOT NULL,
    start_time {time} NOT NULL, end_time {time} NOT NULL, known_time {time} NOT NULL, kind TEXT NOT NULL,
    score {double} NOT NULL, threshold {double} NOT NULL, minutes INTEGER NOT NULL, reasons TEXT NOT NULL, model TEXT NOT NULL,
    CONSTRAINT pk_anomalies PRIMARY KEY (market, symbol, start_time)
);
CREATE INDEX ix_anomalies_partition ON anomalies (market, date);
INSERT INTO anomalies VALUES ('stocks', '2024-06-03', 'AAPL', '2024-06-03 13:30:00.000000{zone}', '2024-06-03 13:32:00.000000{zone}',
    '2024-06-03 13:31:00.000000{zone}', 'price_jump', 0.75, 0.5, 2, '[]', 'detector 1')
"""
_TYPES = {
    "sqlite": {"time": "DATETIME", "double": "DOUBLE", "zone": ""},
    "postgresql": {"time": "TIMESTAMP WITH TIME ZONE", "double": "DOUBLE PRECISION", "zone": "+00"},
}


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'tapewatch.db'}"
    return str(request.getfixturevalue("server").database())


def differences(database: Database) -> list[object]:
    options = COMPARISON | {"version_table": VERSION_TABLE, "target_metadata": metadata}
    with database.engine.connect() as connection:
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))


def made_before_revisions(url: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for statement in _BEFORE_REVISIONS.format(**_TYPES[engine.dialect.name]).split(";"):
            connection.exec_driver_sql(statement)
    engine.dispose()


def test_the_revisions_end_where_the_definitions_are(url: str) -> None:
    with Database(url) as database:
        assert differences(database) == []
        with database.engine.connect() as connection:
            assert revision_of(connection) == HEAD


def test_a_difference_from_the_definitions_is_found(url: str) -> None:
    with Database(url) as database:
        with database.engine.begin() as connection:
            connection.execute(sa.text("ALTER TABLE alerts DROP COLUMN message"))
            connection.execute(sa.text("DROP INDEX ix_gaps_open"))
        assert len(differences(database)) == 2


def test_a_database_from_before_the_revisions_keeps_its_rows(url: str) -> None:
    made_before_revisions(url)
    with Database(url) as database:
        assert differences(database) == []
        kept = database.anomalies()
        assert kept["symbol"].to_list() == ["AAPL"]
        assert kept["start_time"].to_list() == [dt.datetime(2024, 6, 3, 13, 30, tzinfo=dt.UTC)]
        database.replace_anomalies(MONDAY, events(event("MSFT")))
        assert database.anomalies()["symbol"].to_list() == ["MSFT"]


def test_a_database_at_the_first_revision_is_upgraded_with_its_rows(url: str) -> None:
    with Database(url, upgrades=False) as old, old.engine.begin() as connection:
        command.upgrade(alembic_config(connection), REVISIONS[0])
    with Database(url, upgrades=False) as old:
        old.upsert(GAPS, MONDAY, rows_of(GAPS, 20))
        assert schema.upgrade(old.engine) == (REVISIONS[0], HEAD)
        assert schema.upgrade(old.engine) == (HEAD, HEAD)
        assert old.read(GAPS).height == 20
        assert differences(old) == []


def test_downgrade_to_nothing_and_upgrade_again(url: str) -> None:
    with Database(url) as database:
        with database.engine.begin() as connection:
            command.downgrade(alembic_config(connection), "base")
            assert set(sa.inspect(connection).get_table_names()) == {VERSION_TABLE}
            assert sa.inspect(connection).get_view_names() == []
        schema.upgrade(database.engine)
        assert differences(database) == []


def test_a_newer_database_is_refused_and_not_changed(url: str) -> None:
    with Database(url) as database, database.engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))  # noqa: S608
    with pytest.raises(DatabaseError, match=f"is at revision 9999, newer than this Tapewatch's {HEAD}") as caught:
        Database(url)
    assert not caught.value.is_transient
    with Database(url, upgrades=False) as database, database.engine.connect() as connection:
        assert revision_of(connection) == "9999"


def test_a_revision_that_fails_leaves_the_database_as_it_was(url: str) -> None:
    made_before_revisions(url)
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE gaps (unlike TEXT)"))
    with pytest.raises(DatabaseError):
        Database(url)
    assert set(sa.inspect(engine).get_table_names()) == {"anomalies", "gaps"}
    engine.dispose()


@pytest.mark.slow
def test_processes_that_open_a_new_database_together_all_find_it_current(url: str) -> None:
    assert run_together(open_it, url, 3) == [HEAD] * 3
    with Database(url) as database:
        assert differences(database) == []


@pytest.mark.long
def test_a_current_database_is_opened_without_alembic(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'tapewatch.db'}"
    Database(url).close()
    opening = f"import sys; from tapewatch.store.database.database import Database; Database({url!r}); print('alembic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", opening], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_other_programs_may_have_tables_and_revisions_in_the_database(url: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
        connection.execute(sa.text("INSERT INTO alembic_version VALUES ('29a8f7130228')"))  # pragma: allowlist secret
        connection.execute(sa.text("CREATE TABLE runs (run_id TEXT)"))
    with Database(url) as database:
        assert differences(database) == []
    with engine.connect() as connection:
        assert (
            connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
            == "29a8f7130228"  # pragma: allowlist secret
        )  # pragma: allowlist secret
    engine.dispose()


def test_the_revisions_are_linear_and_part_of_the_package() -> None:
    with sa.create_engine("sqlite://").connect() as connection:
        scripts = ScriptDirectory.from_config(alembic_config(connection))
    assert scripts.get_heads() == [HEAD]
    assert tuple(script.revision for script in reversed(list(scripts.walk_revisions()))) == REVISIONS
    # Folders without this file would be left out of the wheel.
    assert all((folder / "__init__.py").exists() for folder in (VERSIONS, VERSIONS.parent))


@pytest.mark.slow
def test_postgresql_tables_have_comments(server: PostgresServer) -> None:
    with Database(server.database()) as database:
        inspector = sa.inspect(database.engine)
        assert inspector.get_table_comment("alerts")["text"] == ALERTS.description
        columns = {column["name"]: column["comment"] for column in inspector.get_columns("alerts")}
        assert columns["rule"] == ALERTS.by_name["rule"].description


def test_times_in_a_sqlite_file_are_readable_text(tmp_path: Path) -> None:
    file = tmp_path / "tapewatch.db"
    with Database(f"sqlite:///{file}") as database:
        database.upsert(ALERTS, MONDAY, rows_of(ALERTS, 1))
    with sqlite3.connect(file) as connection:
        assert connection.execute("SELECT start_time FROM alerts").fetchone() == ("2024-06-03 13:30:00.000000",)
