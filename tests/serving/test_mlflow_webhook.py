"""MLflow's own server posts the alias that was set, and the scoring service swaps."""

import os
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
import uvicorn
from cryptography.fernet import Fernet

from orchestration.processes.services import Service
from orchestration.processes.supervision import Supervisor, stop_signals
from resources.mlflow_webhook import PATH, WebhookError, ensure_webhook
from serving.app import application
from serving.deployment import Deployment
from serving.store import CHALLENGER, point
from tests.support import ask
from tests.support.ports import free_port
from tests.support.scoring import deployment_in, put_model

pytestmark = pytest.mark.slow
PATIENCE_S = 180
SECRET = uuid.uuid4().hex


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    home = tmp_path / "bentoml"
    made = deployment_in(home, scoring_webhook_secret=SECRET)
    point(home, CHALLENGER, put_model(home, "2").tag)
    return made


@pytest.fixture
def url(deployment: Deployment) -> Iterator[str]:
    """The scoring service in a thread."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(application(deployment), port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(PATIENCE_S)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[mlflow.MlflowClient]:
    """MLflow's server, which may post to this machine."""
    port = free_port()
    command = (
        sys.executable,
        "-m",
        "orchestration.processes.mlflow_server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    )
    service = Service(
        "mlflow",
        "MLflow",
        (*command, "--artifacts-destination", str(tmp_path / "artifacts")),
        health=f"http://127.0.0.1:{port}/health",
    )
    environment = {
        **os.environ,
        "TAPEWATCH_HOME": str(tmp_path),
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{tmp_path}/mlflow.db",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
        "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": Fernet.generate_key().decode(),
    }
    with stop_signals() as stopping, Supervisor([service], tmp_path, environment) as supervisor:
        supervisor.wait_until_healthy(service, timeout_s=300, stopping=stopping)
        yield mlflow.MlflowClient(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port}")


def test_setting_the_alias_swaps_the_model(registry: mlflow.MlflowClient, url: str, deployment: Deployment) -> None:
    with pytest.raises(WebhookError, match="MLFLOW_WEBHOOK_ALLOWED_SCHEMES"):
        ensure_webhook(registry, "ftp://127.0.0.1/hook", SECRET)
    first = ensure_webhook(registry, "http://127.0.0.1:9/elsewhere", uuid.uuid4().hex)
    assert ensure_webhook(registry, url + PATH, SECRET) == first, "the webhook is changed, not doubled"
    registry.create_registered_model("isolation_forest")
    run = registry.create_run("0").info
    for _ in range(2):
        registry.create_model_version("isolation_forest", f"{run.artifact_uri}/model", run.run_id)
    registry.set_registered_model_alias("isolation_forest", "challenger", "1")
    assert ask.get(f"{url}/model").json()["version"] == "3"
    registry.set_registered_model_alias("isolation_forest", "champion", "2")
    deadline = time.monotonic() + PATIENCE_S
    while ask.get(f"{url}/model").json()["version"] != "2":
        assert time.monotonic() < deadline, "the alias did not reach the service"
        time.sleep(0.02)
    assert deployment.newest_event > 0
