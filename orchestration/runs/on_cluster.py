"""Runs a job of the platform on the Dask cluster of the settings."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

from orchestration.definitions import build_definitions
from tapewatch.settings import Settings

Listener = Callable[[dg.EventLogEntry], None]
_LOOK_S, _AT_ONCE = 0.5, 1000


def job_of(name: str, home: str, address: str) -> dg.JobDefinition:
    """A job as the settings have it, with this home and scheduler; each worker makes it from its own environment."""
    # The setting limits what the UI lists; a command may name any day.
    changes = {"home": Path(home), "dask_address": address, "partitions_start": None}
    return build_definitions(Settings().model_copy(update=changes)).resolve_job_def(name)


def execute_on_cluster(
    settings: Settings,
    job: str,
    opened: dg.DagsterInstance,
    run_id: str,
    tags: Mapping[str, str],
    config: Mapping[str, Any],
    listen: Listener,
) -> dg.JobExecutionResult:
    """Run a job to its end; a failure is in the result. `listen` gets the entries of the run's log, as workers write them."""
    arguments = (job, str(settings.home.absolute()), settings.dask_address)
    made = dg.build_reconstructable_job(__name__, "job_of", reconstructable_args=arguments)
    with _followed(opened, run_id, listen):
        return dg.execute_job(made, instance=opened, tags=dict(tags), run_config=dict(config), raise_on_error=False)


@contextmanager
def _followed(opened: dg.DagsterInstance, run_id: str, listen: Listener) -> Iterator[None]:
    """Pass on the run's log, in a thread: an instance tells its listeners only what its own process writes."""
    cursor: str | None = None
    is_over = threading.Event()

    def pass_on() -> None:
        nonlocal cursor
        has_more = True
        while has_more:
            found = opened.get_records_for_run(run_id, cursor=cursor, limit=_AT_ONCE)
            for record in found.records:
                listen(record.event_log_entry)
            cursor, has_more = found.cursor, found.has_more

    def follow() -> None:
        while not is_over.wait(_LOOK_S):
            pass_on()

    thread = threading.Thread(target=follow, name="run-log", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        pass_on()
