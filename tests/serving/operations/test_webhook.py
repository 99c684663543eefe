"""MLflow's webhook: signed by MLflow itself, refused otherwise, and followed once and in order."""

import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.webhooks.delivery import _generate_hmac_signature
from starlette.testclient import TestClient

from serving.app import application
from serving.deployment import Deployment
from serving.store import CHALLENGER, CHAMPION, point, pointed
from tests.support.scoring import deployment_in, put_model

SECRET = uuid.uuid4().hex


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    home = tmp_path / "bentoml"
    made = deployment_in(home, scoring_webhook_secret=SECRET)
    point(home, CHALLENGER, put_model(home, "4").tag)
    return made


@pytest.fixture
def client(deployment: Deployment) -> Iterator[TestClient]:
    with TestClient(application(deployment), base_url="http://127.0.0.1") as made:
        yield made


def event(version: str, at: str, *, alias: str = "champion", name: str = "isolation_forest") -> dict[str, object]:
    data = {"name": name, "alias": alias, "version": version}
    return {"entity": "model_version_alias", "action": "created", "timestamp": at, "data": data}


def post(
    client: TestClient, body: object, *, signed_with: str = SECRET, signed: float | None = None
) -> tuple[int, str]:
    """What MLflow would post, with MLflow's own signature."""
    text, delivery = json.dumps(body), "5b1c"
    stamp = str(int(signed or time.time()))
    headers = {
        **{"content-type": "application/json", "x-mlflow-delivery-id": delivery, "x-mlflow-timestamp": stamp},
        "x-mlflow-signature": _generate_hmac_signature(signed_with, delivery, stamp, text),
    }
    answer = client.post("/webhooks/mlflow", content=text, headers=headers)
    return answer.status_code, answer.json().get("outcome") or answer.json()["type"].rpartition(":")[2]


def test_a_new_champion_is_served_at_once_and_challenges_no_more(client: TestClient, deployment: Deployment) -> None:
    assert post(client, event("4", "2024-06-03T14:27:00+00:00")) == (200, "served")
    assert client.get("/model").json()["version"] == "4"
    home = deployment.slot.bento_home
    assert home is not None
    assert (pointed(home, CHAMPION), pointed(home, CHALLENGER)) == ("isolation_forest-4", "")


def test_deliveries_that_come_late_or_twice_change_nothing(client: TestClient) -> None:
    assert post(client, event("4", "2024-06-03T14:27:00+00:00")) == (200, "served")
    assert post(client, event("3", "2024-06-03T14:28:00+00:00")) == (200, "served")
    for late in (event("4", "2024-06-03T14:27:00+00:00"), event("3", "2024-06-03T14:28:00+00:00")):
        assert post(client, late) == (200, "ignored")
    assert client.get("/model").json()["version"] == "3"


@pytest.mark.parametrize(
    "other",
    [
        event("4", "2024-06-03T14:27:00+00:00", alias="challenger"),
        event("4", "2024-06-03T14:27:00+00:00", name="scan"),
        {**event("4", "2024-06-03T14:27:00+00:00"), "action": "deleted"},
        {**event("4", "2024-06-03T14:27:00+00:00"), "entity": "registered_model"},
    ],
)
def test_other_events_are_ignored(client: TestClient, other: dict[str, object]) -> None:
    assert post(client, other) == (200, "ignored")
    assert client.get("/model").json()["version"] == "3"


def test_a_version_that_is_not_packaged_waits(client: TestClient) -> None:
    assert post(client, event("9", "2024-06-03T14:27:00+00:00")) == (202, "waiting")
    assert client.get("/model").json()["version"] == "3"


def test_what_mlflow_did_not_sign_lately_is_refused(client: TestClient) -> None:
    body = event("4", "2024-06-03T14:27:00+00:00")
    assert post(client, body, signed_with=uuid.uuid4().hex) == (401, "signature")
    assert post(client, body, signed=time.time() - 3_600) == (401, "signature")
    assert client.post("/webhooks/mlflow", json=body).status_code == 401
    assert post(client, {"entity": 1}) == (422, "invalid")
    assert client.get("/model").json()["version"] == "3"


def test_without_a_secret_no_webhook_is_taken(tmp_path: Path) -> None:
    deployment = deployment_in(tmp_path / "bentoml")
    with TestClient(application(deployment), base_url="http://127.0.0.1") as client:
        answer = client.post("/webhooks/mlflow", json=event("4", "2024-06-03T14:27:00+00:00"))
    assert answer.status_code == 503
    assert "TAPEWATCH_SCORING_WEBHOOK_SECRET" in answer.json()["way_out"]
