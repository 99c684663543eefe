"""The data folder: its configuration, its name, and who may read it."""

from pathlib import Path

import dagster as dg
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from orchestration.cli.app import app
from orchestration.home import (
    HomeError,
    check_home,
    environment,
    expect_databases,
    instance,
    introduce_stream,
    prepare,
    tighten,
)
from tapewatch.settings import Settings


def test_the_configuration_is_replaced_atomically(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, _env_file=None)
    prepare(settings)
    config = settings.dagster_home / "dagster.yaml"
    before, text = config.stat(), config.read_text()
    assert "RunPerMarket" in text
    with config.open() as reader:
        prepare(settings)
        now = config.stat()
        assert (now.st_ino, now.st_mtime_ns) == (before.st_ino, before.st_mtime_ns), "nothing new, nothing written"
        # It holds no password.
        prepare(settings.model_copy(update={"dagster_postgres_url": SecretStr("postgresql://me@127.0.0.1/x")}))
        assert reader.read() == text
    assert config.read_text().startswith(text)
    assert "postgres_url" in config.read_text()
    assert [path.name for path in settings.dagster_home.iterdir()] == [config.name]


def test_the_configuration_of_an_earlier_release_is_replaced(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, _env_file=None)
    prepare(settings)
    config = settings.dagster_home / "dagster.yaml"
    current = config.read_text()
    earlier = current.replace("orchestration.run_queue", "dagster._core.run_coordinator")
    config.write_text(earlier.replace("RunPerMarket", "QueuedRunCoordinator"))
    prepare(settings)
    assert config.read_text() == current


def test_an_edited_configuration_is_kept(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, _env_file=None)
    prepare(settings)
    config = settings.dagster_home / "dagster.yaml"
    config.write_text("telemetry:\n  enabled: false\n")
    prepare(settings.model_copy(update={"dagster_postgres_url": SecretStr("postgresql://me@127.0.0.1/x")}))
    assert config.read_text() == "telemetry:\n  enabled: false\n"


def rights(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture
def open_home(tmp_path: Path) -> Path:
    """A home as an earlier release left it, with files of others in it."""
    home = tmp_path / "home"
    for folder in ("lake/tape", "dagster", "theirs"):
        (home / folder).mkdir(parents=True)
    for file in ("lake/tape/day.parquet", "tapewatch.db", "theirs/file"):
        (home / file).write_text("x")
    outside = tmp_path / "outside"
    outside.mkdir()
    (home / "lake" / "elsewhere").symlink_to(outside)
    script = home / "dagster" / "script"
    script.touch()
    for path in (home, *home.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path == script else 0o644)
    return home


def test_an_open_home_is_closed_to_others(open_home: Path) -> None:
    tighten(Settings(home=open_home, _env_file=None))
    assert {rights(open_home / name) for name in (".", "lake", "lake/tape", "dagster", "dagster/script")} == {0o700}
    assert {rights(open_home / name) for name in ("tapewatch.db", "lake/tape/day.parquet")} == {0o600}
    assert rights(open_home / "theirs" / "file") == 0o644, "not ours"
    assert rights(open_home.parent / "outside") == 0o755, "not in the home"


def test_a_folder_that_others_share_keeps_its_rights(open_home: Path) -> None:
    open_home.chmod(0o1777)
    tighten(Settings(home=open_home, _env_file=None))
    assert rights(open_home) == 0o777
    assert rights(open_home / "lake" / "tape" / "day.parquet") == 0o600


def test_every_command_closes_the_home_and_warns_of_an_open_file_of_settings(
    open_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAPEWATCH_HOME", str(open_home))
    monkeypatch.delenv("TAPEWATCH_DATABASE_URL", raising=False)
    (open_home / "tapewatch.db").unlink()
    dotenv = tmp_path / ".env"
    dotenv.touch(0o600)
    assert not CliRunner().invoke(app, ["alerts", "--format", "csv"]).stderr
    assert rights(open_home) == 0o700
    assert rights(open_home / "tapewatch.db") == 0o600
    dotenv.chmod(0o644)
    warned = CliRunner().invoke(app, ["alerts", "--format", "csv"])
    assert warned.stderr == f"Warning: {dotenv} can be read by every user of this machine: chmod 600 .env\n"
    assert warned.exit_code == 0


@pytest.mark.parametrize("name", ["lake%202026", "what?a", "100%41"])
def test_a_name_that_dagster_and_mlflow_misread_is_refused(tmp_path: Path, name: str) -> None:
    settings = Settings(home=tmp_path / name, _env_file=None)
    with pytest.raises(HomeError, match="Dagster and MLflow cannot keep SQLite files"):
        check_home(settings)
    url = "postgresql://me@127.0.0.1/"
    elsewhere = {"dagster_postgres_url": SecretStr(f"{url}a"), "mlflow_tracking_uri": f"{url}b"}
    check_home(settings.model_copy(update=elsewhere))


@pytest.mark.parametrize("name", ["tape #1 é; 100%", "a+b&c=d:e@f", "x [y]*"])
def test_other_names_are_accepted(tmp_path: Path, name: str) -> None:
    check_home(Settings(home=tmp_path / name, _env_file=None))


def test_dagster_and_mlflow_cannot_share_a_database(tmp_path: Path) -> None:
    shared = {
        "dagster_postgres_url": SecretStr("postgresql://me:a%40b@db/x"),  # pragma: allowlist secret
        "mlflow_tracking_uri": "postgresql+psycopg2://you@db:5432/x",
    }
    settings = Settings(home=tmp_path, _env_file=None, **shared)
    with pytest.raises(
        HomeError, match=r"name one database, x, in which their tables would clash: .*`tapewatch db create`"
    ):
        check_home(settings)
    check_home(settings.model_copy(update={"mlflow_tracking_uri": "postgresql://you@db/y"}))


def test_services_get_the_installed_driver_of_postgresql(tmp_path: Path) -> None:
    url = "postgresql://me:p%40@db/x"  # pragma: allowlist secret
    settings = Settings(home=tmp_path, _env_file=None, dagster_postgres_url=SecretStr(url), mlflow_tracking_uri=url)
    variables = environment(settings)
    assert {variables[name] for name in ("TAPEWATCH_DAGSTER_POSTGRES_URL", "MLFLOW_TRACKING_URI")} == {
        "postgresql+psycopg2://me:p%40@db/x"  # pragma: allowlist secret
    }


@pytest.mark.parametrize("url", ["postgresql://me:hunter2@127.0.0.1:1/x", "nonsense"])  # pragma: allowlist secret
def test_a_database_that_cannot_be_used_is_named_in_one_line(tmp_path: Path, url: str) -> None:
    settings = Settings(home=tmp_path, _env_file=None, dagster_postgres_url=SecretStr(url))
    with (
        pytest.raises(HomeError, match=r"TAPEWATCH_DAGSTER_POSTGRES_URL: .* `tapewatch db create`") as caught,
        instance(settings),
    ):
        pass
    assert str(caught.value).count("\n") == 0
    assert "hunter2" not in str(caught.value)


def test_the_database_of_mlflow_is_tried_too_where_it_is_needed(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, _env_file=None, mlflow_tracking_uri="postgresql://127.0.0.1:1/x")
    expect_databases(settings)
    with pytest.raises(HomeError, match=r"MLFLOW_TRACKING_URI: database postgresql.*refused"):
        expect_databases(settings, mlflow=True)


def test_a_home_that_never_streamed_has_no_upstream_that_was_never_materialized() -> None:
    key = dg.AssetKey(["tape", "stream_batches"])
    with dg.DagsterInstance.ephemeral() as opened:
        for _ in range(2):
            introduce_stream(opened)
        assert len(opened.fetch_materializations(key, limit=9).records) == 1
        assert not opened.get_materialized_partitions(key)
