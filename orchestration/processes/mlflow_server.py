"""MLflow's server behind the guard: `python -m orchestration.processes.mlflow_server`.

As `mlflow server` with one worker, in one process; MLFLOW_BACKEND_STORE_URI names the store.
"""

import argparse
import os

import uvicorn
from mlflow.server import constants

from orchestration.processes.guarding import access_of
from tapewatch.settings import Settings
from tapewatch.web.guard import Guard

HEALTH = "/health"
_ARTIFACT_ROOT = "mlflow-artifacts:/"
#: MLflow's assistant runs commands on this machine for whoever asks from a loopback address, so for all behind a proxy.
_CLOSED = ("/ajax-api/3.0/mlflow/assistant",)


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--artifacts-destination", required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", required=True, type=int)
    chosen = parser.parse_args()
    store = os.environ["MLFLOW_BACKEND_STORE_URI"]
    os.environ |= {
        constants.BACKEND_STORE_URI_ENV_VAR: store,
        constants.REGISTRY_STORE_URI_ENV_VAR: store,
        constants.ARTIFACT_ROOT_ENV_VAR: _ARTIFACT_ROOT,
        constants.ARTIFACTS_DESTINATION_ENV_VAR: chosen.artifacts_destination,
        constants.SERVE_ARTIFACTS_ENV_VAR: "true",
        # The guard is stricter; MLflow's own list of hosts would refuse the names that the deployment allows.
        "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "true",
    }
    # MLflow reads these variables when it is imported.
    from mlflow.server.fastapi_app import app  # noqa: PLC0415
    from mlflow.server.handlers import initialize_backend_stores  # noqa: PLC0415

    initialize_backend_stores(store, store, _ARTIFACT_ROOT)
    guarded = Guard(app, access=access_of(Settings()), open_paths=[HEALTH], closed=_CLOSED)
    uvicorn.run(guarded, host=chosen.host, port=chosen.port, log_level="warning")


if __name__ == "__main__":
    main()
