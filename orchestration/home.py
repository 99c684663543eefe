"""The data folder: its Dagster instance and the environment that every process of a deployment shares."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tapewatch.settings import Settings
from tapewatch.store.durable import write_whole

if TYPE_CHECKING:
    import dagster as dg

_BASE_CONFIG = """\
# Written by `tapewatch`; once edited, it is yours and not written again.
telemetry:
  enabled: false
nux:
  enabled: false
run_coordinator:
  module: dagster._core.run_coordinator
  class: QueuedRunCoordinator
  config:
    max_concurrent_runs: 2
"""
_POSTGRES_CONFIG = """\
storage:
  postgres:
    postgres_url:
      env: TAPEWATCH_DAGSTER_POSTGRES_URL
"""
#: A run of the command line speaks to the terminal that started it. Captured, its output would pass through a file and four
#: processes that follow it: nothing to draw progress on, and what Ctrl-C strikes too tells of it in tracebacks.
_UNCAPTURED = {
    "compute_logs": {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
}


def prepare(settings: Settings) -> None:
    """Make the data folder and its `dagster.yaml`, if they are not there."""
    for folder in (settings.lake_root, settings.dagster_home, settings.bento_home, settings.home / "mlflow"):
        folder.mkdir(parents=True, exist_ok=True)
    config = settings.dagster_home / "dagster.yaml"
    ours = (_BASE_CONFIG, _BASE_CONFIG + _POSTGRES_CONFIG)
    wanted = ours[1 if settings.dagster_postgres_url else 0]
    written = config.read_text() if config.exists() else None
    if written != wanted and (written is None or written in ours):
        # Other processes of the deployment read it at any moment: half of it would be another instance.
        write_whole(config, wanted, is_synced=False, is_shared=True)


def environment(settings: Settings) -> dict[str, str]:
    """What child processes need to see the same deployment; secrets travel here and nowhere else."""
    home = settings.home.absolute()
    values = {
        "TAPEWATCH_HOME": str(home),
        "DAGSTER_HOME": str(settings.dagster_home.absolute()),
        "BENTOML_HOME": str(settings.bento_home.absolute()),
        "POLYGON_BASE_URL": settings.polygon_base_url,
        "TAPEWATCH_FLAT_FILES": settings.flat_files or "",
        "TAPEWATCH_DATABASE_URL": settings.database_url or "",
        "TAPEWATCH_PLANS_FILE": str(settings.plans_file.absolute()) if settings.plans_file else "",
        "BENTOML_DO_NOT_TRACK": "True",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        # The model's requirements are stated; the whole lock file is not among them.
        "MLFLOW_UV_AUTO_DETECT": "false",
        "DO_NOT_TRACK": "1",
    }
    if settings.polygon_api_key:
        values["POLYGON_API_KEY"] = settings.polygon_api_key.get_secret_value()
    if settings.mlflow_tracking_uri:
        values["MLFLOW_TRACKING_URI"] = settings.mlflow_tracking_uri
    if settings.dagster_postgres_url:
        values["TAPEWATCH_DAGSTER_POSTGRES_URL"] = settings.dagster_postgres_url.get_secret_value()
    return values


def end_lost_runs(opened: "dg.DagsterInstance") -> None:
    """Say of the daemon's runs that are under way that they failed. Only where no daemon of this deployment runs.

    Killed with the platform, they had nobody left to say so: they would count as running for ever, what waits for their day
    with them, and as two of the two that may run at once. Runs of the command line have processes of their own.
    """
    import dagster as dg  # noqa: PLC0415 - as below

    ours = (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)
    for run in opened.get_runs(dg.RunsFilter(statuses=list(ours))):
        if run.remote_job_origin is not None:
            opened.report_run_failed(run, "Its process was killed together with the platform.")


@contextmanager
def instance(settings: Settings) -> Iterator["dg.DagsterInstance"]:
    """The deployment's Dagster instance, its environment in force for this process while it is open.

    What runs print meanwhile goes where this process prints, not into Dagster's log files.
    """
    import dagster as dg  # noqa: PLC0415 - a second that most commands need not spend
    from dagster._core.instance.ref import InstanceRef  # noqa: PLC0415

    prepare(settings)
    values = environment(settings)
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        ref = InstanceRef.from_dir(str(settings.dagster_home), overrides=_UNCAPTURED)
        with dg.DagsterInstance.from_ref(ref) as opened:
            yield opened
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
