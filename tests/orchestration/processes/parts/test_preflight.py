"""What keeps a deployment from starting is named, with the way out, and the exit code is not 0."""

import fcntl
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from typer.testing import CliRunner

from orchestration.cli.app import app
from orchestration.processes.parts.parts import serve
from orchestration.processes.parts.preflight import PreflightError, expect_sound
from orchestration.processes.services import ServiceError
from orchestration.processes.supervision import NAME, claimed
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database
from tapewatch.store.durable import LEAST_FREE_BYTES
from tests.support.ports import free_port

TOKEN = SecretStr("t" * 20)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, home=tmp_path / "home", polygon_api_key=SecretStr("k"), token=TOKEN)


def faults(settings: Settings, **changes: object) -> str:
    with pytest.raises(PreflightError) as caught:
        expect_sound(settings.model_copy(update=changes))
    return str(caught.value)


def test_a_sound_deployment_passes_twice(settings: Settings) -> None:
    expect_sound(settings)
    expect_sound(settings)
    assert not settings.home.exists()


def test_every_fault_is_named_at_once_without_passwords(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    said = faults(
        settings,
        host="0.0.0.0",  # noqa: S104
        token=None,
        database_url=f"postgresql://me:hunter2@127.0.0.1:{port}/tapes",  # pragma: allowlist secret
        dagster_postgres_url=SecretStr(f"postgresql://me:hunter2@127.0.0.1:{port}/runs"),
        redis_url=SecretStr(f"redis://:hunter2@127.0.0.1:{port}/0"),
        lake_url="s3://tapes/lake",
    )
    for sign in (
        "set TAPEWATCH_TOKEN to a secret",
        "TAPEWATCH_DATABASE_URL: ",
        "TAPEWATCH_DAGSTER_POSTGRES_URL: ",
        "correct TAPEWATCH_REDIS_URL",
        "TAPEWATCH_LAKE_URL: s3://tapes/lake cannot be written",
    ):
        assert sign in said
    assert "hunter2" not in said


def test_a_full_volume_is_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2**40, 2**40, LEAST_FREE_BYTES - 1))
    assert "is full: 256 MiB are free" in faults(settings)


def test_a_folder_that_is_a_file_is_named(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = faults(settings, home=tmp_path / "file", database_url=f"sqlite:///{tmp_path}/x.db")
    assert f"{tmp_path / 'file'} cannot be written (Not a directory)" in said
    assert "set TAPEWATCH_HOME" in said


def test_a_schema_of_a_newer_version_is_named_and_an_older_one_is_upgraded(settings: Settings) -> None:
    settings.home.mkdir()
    with Database(settings.database) as database, database.engine.begin() as connection:
        connection.execute(sa.text("UPDATE tapewatch_version SET version_num = '9999'"))
    assert "is at revision 9999, newer than this Tapewatch" in faults(settings)


def test_a_part_alone_needs_a_source(settings: Settings) -> None:
    with pytest.raises(PreflightError, match="POLYGON_API_KEY is not set, nor is TAPEWATCH_FLAT_FILES"):
        serve(settings.model_copy(update={"polygon_api_key": None}), "healer")


def test_two_deployments_on_one_volume_are_refused(settings: Settings) -> None:
    for part in ("daemon", "code-location", "paper-trader"):
        with claimed(settings.home, NAME, "tapewatch up"), pytest.raises(ServiceError, match=r"runs on .* already"):
            serve(settings, part)
    lock = settings.home / "run" / "part-daemon.lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ServiceError, match=r"daemon runs on .* already, from this deployment or from another"):
            serve(settings, "daemon")


def test_the_command_exits_with_one_and_says_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAPEWATCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TAPEWATCH_HOST", "0.0.0.0")  # noqa: S104
    for command in (["preflight"], ["serve", "webserver"], ["up"]):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 1
        assert "set TAPEWATCH_TOKEN to a secret" in done.output


def test_the_dashboard_alone_names_a_volume_and_a_database_that_it_cannot_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAPEWATCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TAPEWATCH_DATABASE_URL", f"postgresql://me@127.0.0.1:{free_port()}/tapes")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2**40, 2**40, LEAST_FREE_BYTES - 1))
    for command in (["dashboard"], ["labeller", "--mode", "interactive"]):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 1
        assert "is full: 256 MiB are free" in done.output
        assert "start the server, or correct the address" in done.output
