"""The data folder, its Dagster instance, and the environment that all processes of a deployment share."""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapewatch.settings import Settings
from tapewatch.store.durable import write_whole

if TYPE_CHECKING:
    import dagster as dg

#: The name of the code location in both `workspace.yaml` files.
LOCATION = "tapewatch"
#: The tag that all runs of the command line have, and no other.
COMMAND_TAG = "command"
_CONFIG = """\
# Written by `tapewatch`; once edited, it is yours and not written again.
telemetry:
  enabled: false
nux:
  enabled: false
run_coordinator:
  module: {module}
  class: {name}
  config:
    max_concurrent_runs: 2
"""
_BASE_CONFIG = _CONFIG.format(module="orchestration.run_queue", name="RunPerMarket")
#: As earlier releases wrote it.
_EARLIER_CONFIG = _CONFIG.format(module="dagster._core.run_coordinator", name="QueuedRunCoordinator")
#: What Tapewatch keeps in the data folder.
_OURS = (
    *(
        "bentoml",
        "champions",
        "dagster",
        "dashboard",
        "demo",
        "feast",
        "lake",
        "logs",
        "mlflow",
        "reports",
        "run",
        "spool",
    ),
    *("tapewatch.db", "tapewatch.db-shm", "tapewatch.db-wal"),
)
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_POSTGRES_CONFIG = """\
storage:
  postgres:
    postgres_url:
      env: TAPEWATCH_DAGSTER_POSTGRES_URL
"""
#: Runs of the command line print to their terminal. Captured output would pass through a file and four processes that follow
#: it: no progress bar could be drawn, and Ctrl-C would end those processes with tracebacks.
_UNCAPTURED = {
    "compute_logs": {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
}


class HomeError(RuntimeError):
    """The data folder or its databases cannot be used; the message names them, why, and the way out."""


def tighten(settings: Settings) -> None:
    """Close the data folder, and what Tapewatch keeps in it, to other users; symbolic links are not followed.

    A folder that others share (`/`, the user's own home folder, a folder such as `/tmp`) keeps its rights.

    Raises:
        PermissionError: the folder belongs to another user.
    """
    home = settings.home.absolute()
    if not home.is_dir():
        return
    for entry in (home / name for name in _OURS):
        if _is_open(entry):
            inner = [Path(top, name) for top, folders, files in os.walk(entry) for name in (*folders, *files)]
            # The entry last: were this interrupted, the next start would do it again.
            for path in (*inner, entry):
                _close(path)
    is_shared = home in (Path("/"), Path.home()) or home.stat().st_mode & stat.S_ISVTX
    if not is_shared and _is_open(home):
        _close(home)


def _is_open(path: Path) -> bool:
    """Whether others have rights to it; not so for a symbolic link, and for what is not there."""
    with suppress(FileNotFoundError):
        return not path.is_symlink() and bool(path.stat().st_mode & _OTHERS)
    return False


def _close(path: Path) -> None:
    with suppress(FileNotFoundError):  # a staged file that has been renamed meanwhile
        if not path.is_symlink():
            path.chmod(stat.S_IMODE(path.stat().st_mode) & ~_OTHERS)


def check_home(settings: Settings) -> None:
    """Refuse a home or databases with which Dagster and MLflow would not work.

    Raises:
        DatabaseError: an address of PostgreSQL cannot be read.
        HomeError: they share a database, or the home's name has characters that they cannot have in the path of a SQLite file.
    """
    from sqlalchemy.engine import make_url  # noqa: PLC0415 - slow to import

    from tapewatch.store.database.engine import parse  # noqa: PLC0415

    dagster, mlflow = settings.dagster_postgres_url, settings.mlflow_tracking_uri
    if dagster and mlflow and mlflow.startswith("postgres"):
        ours, theirs = parse(dagster.get_secret_value()), parse(mlflow)
        places = [(url.host, url.port or 5432, url.database, url.query.get("host")) for url in (ours, theirs)]
        if places[0] == places[1]:
            raise HomeError(
                f"TAPEWATCH_DAGSTER_POSTGRES_URL and MLFLOW_TRACKING_URI name one database, {ours.database}, in which their "
                "tables would clash: give each its own, which `tapewatch db create` makes"
            )
    # Both write the path into a URL as it stands: what follows `?` is cut off, and `%41` is read as `A`.
    path = str(settings.home.absolute() / "x.db")
    variables = {"TAPEWATCH_DAGSTER_POSTGRES_URL": dagster, "MLFLOW_TRACKING_URI": mlflow}
    missing = [variable for variable, value in variables.items() if not value]
    if missing and make_url(f"sqlite:///{path}").database != path:
        raise HomeError(
            f"TAPEWATCH_HOME is {settings.home.absolute()}: Dagster and MLflow cannot keep SQLite files in a folder with ? or "
            f"%XX in its name; choose another folder, or set {' and '.join(missing)} (docs/how_to/postgresql.md)"
        )


def prepare(settings: Settings) -> None:
    """Create the data folder and its `dagster.yaml`, if they do not exist.

    Raises:
        LayoutError: its lake is laid out as by an earlier Tapewatch.
    """
    from tapewatch.store.lake.lake import Lake  # noqa: PLC0415 - Polars, which --help does without

    Lake(settings.lake_root).check_layout()
    own_lake = () if settings.lake_url else (settings.home / "lake",)
    for folder in (*own_lake, settings.dagster_home, settings.bento_home, settings.home / "mlflow"):
        folder.mkdir(parents=True, exist_ok=True)
    config = settings.dagster_home / "dagster.yaml"
    ours = [base + more for base in (_BASE_CONFIG, _EARLIER_CONFIG) for more in ("", _POSTGRES_CONFIG)]
    wanted = ours[1 if settings.dagster_postgres_url else 0]
    written = config.read_text() if config.exists() else None
    if written != wanted and (written is None or written in ours):
        # Other processes may read the file at any moment, so it is replaced as a whole.
        write_whole(config, wanted, is_synced=False, is_shared=True)


def _overrides(settings: Settings) -> dict[str, Any]:
    """What runs of the command line have other than `dagster.yaml` says. Storage that its owner chose stays."""
    if (settings.dagster_home / "dagster.yaml").read_text() not in (_BASE_CONFIG, _EARLIER_CONFIG):
        return _UNCAPTURED
    folder = str((settings.dagster_home / "history" / "runs").absolute())
    log = {"module": "orchestration.event_log", "class": "HeldEventLog", "config": {"base_dir": folder}}
    return {**_UNCAPTURED, "event_log_storage": log}


def environment(settings: Settings) -> dict[str, str]:
    """The variables that make child processes use the same deployment; secrets are passed in no other way."""
    home = settings.home.absolute()
    values = {
        "TAPEWATCH_HOME": str(home),
        "DAGSTER_HOME": str(settings.dagster_home.absolute()),
        "BENTOML_HOME": str(settings.bento_home.absolute()),
        "POLYGON_BASE_URL": settings.polygon_base_url,
        "TAPEWATCH_FLAT_FILES": settings.flat_files or "",
        "TAPEWATCH_DATABASE_URL": settings.database_url or "",
        "TAPEWATCH_LAKE_URL": settings.lake_url or "",
        "TAPEWATCH_ARTIFACTS_URL": settings.artifacts_url or "",
        "TAPEWATCH_BENTOS_URL": settings.bentos_url or "",
        "TAPEWATCH_DASK_ADDRESS": settings.dask_address or "",
        "TAPEWATCH_PLANS_FILE": str(settings.plans_file.absolute()) if settings.plans_file else "",
        "BENTOML_DO_NOT_TRACK": "True",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        # The model's requirements are stated explicitly; the lock file is not needed.
        "MLFLOW_UV_AUTO_DETECT": "false",
        "DO_NOT_TRACK": "1",
    }
    key, postgres = settings.polygon_api_key, settings.dagster_postgres_url
    redis, online = settings.redis_url, settings.online_database_url
    optional = {
        "POLYGON_API_KEY": key and key.get_secret_value(),
        "TAPEWATCH_DAGSTER_POSTGRES_URL": postgres and with_driver(postgres.get_secret_value()),
        "TAPEWATCH_REDIS_URL": redis and redis.get_secret_value(),
        "TAPEWATCH_ONLINE_DATABASE_URL": online and online.get_secret_value(),
        "MLFLOW_TRACKING_URI": settings.mlflow_tracking_uri and with_driver(settings.mlflow_tracking_uri),
    }
    return values | {name: value for name, value in optional.items() if value}


def with_driver(url: str) -> str:
    """A PostgreSQL URL with the driver that is installed: SQLAlchemy 2.1 reads the bare name as psycopg 3."""
    return re.sub(r"^postgres(?:ql)?://", "postgresql+psycopg2://", url)


def end_lost_runs(opened: "dg.DagsterInstance") -> None:
    """Mark the daemon's unfinished runs as failed. Call it only while no daemon of this deployment runs.

    A run that was killed with the platform would otherwise count as running for ever: it would block its day, and one of
    the two places for concurrent runs. Runs of the command line are left alone.
    """
    import dagster as dg  # noqa: PLC0415 - as below

    ours = (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)
    for run in opened.get_runs(dg.RunsFilter(statuses=list(ours))):
        if run.remote_job_origin is not None and COMMAND_TAG not in run.tags:
            opened.report_run_failed(run, "Its process was killed together with the platform.")


def expect_databases(settings: Settings, *, mlflow: bool = False) -> None:
    """Connect to Dagster's PostgreSQL, and with `mlflow` to MLflow's; both would try for minutes, with a traceback at the end.

    Raises:
        HomeError: one cannot be used.
    """
    from tapewatch.store.database.engine import DatabaseError, connect, parse, transaction  # noqa: PLC0415 - slow to import

    dagster = settings.dagster_postgres_url
    urls = {"TAPEWATCH_DAGSTER_POSTGRES_URL": dagster and dagster.get_secret_value()}
    if mlflow and settings.tracking_uri.startswith("postgres"):
        urls["MLFLOW_TRACKING_URI"] = settings.tracking_uri
    for variable, url in urls.items():
        if url:
            try:
                engine = connect(parse(url))
                with transaction(engine, reads_only=True):
                    engine.dispose()
            except DatabaseError as error:
                reason = str(error).partition("\n")[0]
                raise HomeError(
                    f"{variable}: {reason}: correct it, start the server, or make it: `tapewatch db create`"
                ) from error


def introduce_stream(opened: "dg.DagsterInstance") -> None:
    """Record once that nothing was streamed yet.

    Bars and features follow the stream's batches if there are any. Of a home that never streamed, the UI would say that they
    may fail because `tape/stream_batches` has not been materialized.
    """
    import dagster as dg  # noqa: PLC0415 - as below

    key = dg.AssetKey(["tape", "stream_batches"])
    if opened.get_latest_materialization_event(key) is None:
        opened.report_runless_asset_event(dg.AssetMaterialization(key, description="Nothing was streamed yet."))


@contextmanager
def instance(settings: Settings) -> Iterator["dg.DagsterInstance"]:
    """The deployment's Dagster instance; meanwhile this process has the deployment's environment.

    Runs print to this process's output, not to Dagster's log files.

    Raises:
        HomeError: as `check_home` and `expect_databases`.
    """
    check_home(settings)
    expect_databases(settings)
    import dagster as dg  # noqa: PLC0415 - takes a second, which most commands do not need
    from dagster._core.instance.ref import InstanceRef  # noqa: PLC0415

    prepare(settings)
    values = environment(settings)
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        ref = InstanceRef.from_dir(str(settings.dagster_home), overrides=_overrides(settings))
        with dg.DagsterInstance.from_ref(ref) as opened:
            yield opened
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
