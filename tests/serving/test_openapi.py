"""The description holds: it is the file in the docs, and generated requests get the answers that it promises."""

import json
import os
import uuid
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from serving.app import application
from serving.contract.arrow import ARROW
from serving.contract.openapi import description
from tapewatch.store.database.database import Database
from tests.serving.operations.conftest import AT, MINUTE, publish, write_findings
from tests.support.scoring import deployment_of, save_detector

PAGE = Path(__file__).parents[2] / "docs" / "openapi.json"
#: BentoML answers these, outside of the application; a stream of events never ends.
ELSEWHERE = {"/livez", "/readyz", "/healthz", "/alerts/stream"}
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
#: Requests of an operation; the long form is `OPENAPI_EXAMPLES=2000 pytest tests/serving/test_openapi.py`.
EXAMPLES = int(os.environ.get("OPENAPI_EXAMPLES", "40"))


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory):
    home = tmp_path_factory.mktemp("home")
    model = save_detector(tmp_path_factory.mktemp("model"))
    with Database(f"sqlite:///{home / 'tapewatch.db'}") as database:
        write_findings(database)
    publish(home, "AAPL", AT, AT + MINUTE, volume_ratio=400.0)
    deployment = deployment_of(model, home, scoring_log_requests=False, scoring_webhook_secret=uuid.uuid4().hex)
    yield schemathesis.openapi.from_asgi("/openapi.json", application(deployment))
    deployment.database.close()


def test_the_file_in_the_docs_is_the_services() -> None:
    assert json.loads(PAGE.read_text()) == description(), "run `python -m serving.contract.openapi > docs/openapi.json`"


def test_every_operation_has_an_example_and_a_summary() -> None:
    for path, operations in description()["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], path
            if method == "post":
                assert operation["requestBody"]["content"]["application/json"]["example"], path
            answers = operation["responses"]["200"]["content"].items()
            # Arrow's bytes have no example in a page of text.
            assert all("example" in answer or kind == ARROW for kind, answer in answers), path


@pytest.mark.slow
@pytest.mark.parametrize(
    "operation",
    sorted((path, method) for path, of in description()["paths"].items() for method in of if path not in ELSEWHERE),
)
def test_generated_requests_get_the_answers_of_the_description(schema, operation: tuple[str, str]) -> None:
    described = schema[operation[0]][operation[1]]
    count = EXAMPLES if operation[1] == "post" or operation[0] == "/alerts" else 2

    @given(case=described.as_strategy())
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    def run(case) -> None:
        case.call_and_validate(checks=CHECKS)

    run()


@pytest.mark.long
@given(
    body=st.binary(max_size=300),
    path=st.sampled_from(["/score", "/explain", "/score_symbols", "/score_bars", "/feedback"]),
)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_answered_below_500(schema, body: bytes, path: str) -> None:
    case = schema[path]["POST"].Case(body=body, media_type="application/json")
    assert case.call(headers={"content-type": "application/json"}).status_code < 500
