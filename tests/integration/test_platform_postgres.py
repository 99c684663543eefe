"""The whole platform on PostgreSQL: `db create`, then `up` with a database for each part."""

import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from rich.console import Console

from orchestration.cli.databases import create
from tapewatch.store.database.database import Database, DatabaseError
from tapewatch.store.database.upkeep.creation import create_databases
from tests.support.command import TAPEWATCH, environment
from tests.support.ports import free_ports
from tests.support.postgres import postgres

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
PASSWORD = "p%40 #?:/\u00e9"  # noqa: S105  # pragma: allowlist secret


@pytest.fixture(scope="module")
def server() -> Iterator[sa.URL]:
    """A server's URL, with a user who may create databases, and whose name and password have to be escaped."""
    with postgres() as url:
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sa.text('CREATE ROLE "me@1" LOGIN CREATEDB'))
            connection.execute(sa.text('CREATE ROLE "nobody" LOGIN'))
        yield sa.make_url(url).set(username="me@1", password=PASSWORD)


def test_a_user_without_the_right_is_refused_in_one_line(server: sa.URL) -> None:
    with pytest.raises(DatabaseError, match="permission denied to create database"):
        create_databases(server.set(username="nobody", database="x").render_as_string(hide_password=False))
    with pytest.raises(DatabaseError, match="write postgresql://USER@HOST/NAME"):
        create_databases("sqlite:///x.db")


def test_up_works_with_the_databases_that_were_made(server: sa.URL, tmp_path: Path) -> None:
    url = server.set(database='my tape%41:"x').render_as_string(hide_password=False)
    output, said = Console(), Console()
    for is_new in (True, False):
        with output.capture() as variables, said.capture() as notes:
            create(url, output, said)
        assert notes.get().count("was made" if is_new else "is there") == 3
        assert PASSWORD not in variables.get() + notes.get()
    given = dict(shlex.split(line)[0].split("=", 1) for line in variables.get().splitlines())
    given = {name: value.replace("***", quote(PASSWORD, safe="")) for name, value in given.items()}
    # Without SQLite the home may have any name.
    home = tmp_path / "lake%202026 what?a"
    names = ("DAGSTER", "MLFLOW", "EMULATOR", "SCORING", "DASHBOARD")
    ports = {f"TAPEWATCH_PORT_{name}": str(port) for name, port in zip(names, free_ports(len(names)), strict=True)}
    log = tmp_path / "up.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [TAPEWATCH, "up"], env=environment(home, **given, **ports), cwd=tmp_path, stdout=file, stderr=file
        )
    try:
        deadline = time.monotonic() + 400
        while "Press Ctrl-C" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.5)
    finally:
        process.terminate()
        assert process.wait(120) == 0, log.read_text()
    with Database(given["TAPEWATCH_DATABASE_URL"]) as ours:
        assert ours.anomalies().is_empty()
    for variable, table in (("TAPEWATCH_DAGSTER_POSTGRES_URL", "event_logs"), ("MLFLOW_TRACKING_URI", "experiments")):
        assert table in sa.inspect(sa.create_engine(given[variable], poolclass=sa.NullPool)).get_table_names()
    assert not list(home.rglob("*.db"))
    assert {path.name for path in tmp_path.iterdir()} == {home.name, "up.log"}
