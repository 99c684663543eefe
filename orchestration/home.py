"""The data folder, its Dagster instance, and the environment that all processes of a deployment share."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tapewatch.settings import Settings
from tapewatch.store.durable import write_whole

if TYPE_CHECKING:
    import dagster as dg

#: The name of the code location in both `workspace.yaml` files.
LOCATION = "tapewatch"
#: The tag that all runs of the command line have, and no other.
COMMAND_TAG = "command"
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
#: Runs of the command line print to their terminal. Captured output would pass through a file and four processes that follow
#: it: no progress bar could be drawn, and Ctrl-C would end those processes with tracebacks.
_UNCAPTURED = {
    "compute_logs": {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
}


def prepare_home(settings: Settings) -> None:
    """Create the data folder and its `dagster.yaml`, if they do not exist."""
    for folder in (settings.lake_root, settings.dagster_home, settings.bento_home, settings.home / "mlflow"):
        folder.mkdir(parents=True, exist_ok=True)
    config = settings.dagster_home / "dagster.yaml"
    ours = (_BASE_CONFIG, _BASE_CONFIG + _POSTGRES_CONFIG)
    wanted = ours[1 if settings.dagster_postgres_url else 0]
    written = config.read_text() if config.exists() else None
    if written != wanted and (written is None or written in ours):
        # Other processes may read the file at any moment, so it is replaced as a whole.
        write_whole(config, wanted, is_synced=False, is_shared=True)


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
        "TAPEWATCH_PLANS_FILE": str(settings.plans_file.absolute()) if settings.plans_file else "",
        "BENTOML_DO_NOT_TRACK": "True",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        # The model's requirements are stated explicitly; the lock file is not needed.
        "MLFLOW_UV_AUTO_DETECT": "false",
        "DO_NOT_TRACK": "1",
    }
    key, postgres = settings.polygon_api_key, settings.dagster_postgres_url
    optional = {
        "POLYGON_API_KEY": key and key.get_secret_value(),
        "TAPEWATCH_DAGSTER_POSTGRES_URL": postgres and postgres.get_secret_value(),
        "MLFLOW_TRACKING_URI": settings.mlflow_tracking_uri,
    }
    return values | {name: value for name, value in optional.items() if value}


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
    """
    import dagster as dg  # noqa: PLC0415 - takes a second, which most commands do not need
    from dagster._core.instance.ref import InstanceRef  # noqa: PLC0415

    prepare_home(settings)
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
