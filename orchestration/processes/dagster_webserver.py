"""Dagster's webserver behind the guard, with the runs' figures at `/metrics`: `python -m orchestration.processes.dagster_webserver`.

The guard is part of the process: a proxy would leave a second, unguarded port open.
"""

import argparse

import dagster as dg
import uvicorn
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._utils.interrupts import setup_interrupt_handlers
from dagster_webserver.app import create_app_from_workspace_process_context
from dagster_webserver.version import __version__

from orchestration.processes.guarding import access_of
from orchestration.processes.run_metrics import with_metrics
from tapewatch.settings import Settings
from tapewatch.web.guard import Guard

HEALTH = "/server_info"
_STATEMENT_TIMEOUT_MS, _POOL_RECYCLE_S, _POOL_OVERFLOW = 15_000, 3600, 20
_POLL_MS = 2000


def main() -> None:
    """Serve the workspace until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workspace", required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", required=True, type=int)
    chosen = parser.parse_args()
    setup_interrupt_handlers()
    access = access_of(Settings())
    with dg.DagsterInstance.get() as instance:
        instance.optimize_for_webserver(_STATEMENT_TIMEOUT_MS, _POOL_RECYCLE_S, _POOL_OVERFLOW)
        target = WorkspaceFileTarget([chosen.workspace])
        with WorkspaceProcessContext(instance, version=__version__, workspace_load_target=target) as workspace:
            app = create_app_from_workspace_process_context(workspace, live_data_poll_rate=_POLL_MS)
            guarded = Guard(with_metrics(app, instance), access=access, open_paths=[HEALTH])
            uvicorn.run(guarded, host=chosen.host, port=chosen.port, log_level="warning")


if __name__ == "__main__":
    main()
