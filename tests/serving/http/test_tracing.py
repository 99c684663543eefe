"""Requests are traced to a real OTLP receiver, under the caller's trace, and the log names the trace."""

import asyncio
import io
import json
import uuid
from pathlib import Path

import httpx
import pytest

from serving.app import application
from serving.http.log import Log
from tapewatch.tracing import TracingError, open_provider
from tests.support.otlp import otlp_receiver
from tests.support.scoring import deployment_of, save_detector

ROW = {"symbol": "AAPL", "event_time": "2024-06-03T14:31:00Z", "volume_ratio": 400.0}
TRACE, PARENT = uuid.uuid4().hex, uuid.uuid4().hex[:16]


async def ask(model: Path, endpoint: str | None, log: io.StringIO) -> list[int]:
    """One request scored, one from the cache, one refused; the second is the caller's trace."""
    deployment = deployment_of(model, otlp_endpoint=endpoint)
    deployment.log = Log(log)
    await deployment.start()
    transport = httpx.ASGITransport(application(deployment))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        traced = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
        answers = [
            await client.post("/score", json=ROW),
            await client.post("/score", json=ROW, headers=traced),
            await client.post("/score", json={**ROW, "volume_ratio": -1}),
        ]
    await deployment.stop()
    return [answer.status_code for answer in answers]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_detector(tmp_path_factory.mktemp("model"))


@pytest.mark.long
def test_spans_come_to_the_receiver_and_the_log_names_their_trace(model: Path) -> None:
    log = io.StringIO()
    with otlp_receiver() as receiver:
        assert asyncio.run(ask(model, receiver.url, log)) == [200, 200, 422]
        spans = receiver.wait(4)
    assert receiver.services == {"tapewatch-scoring"}
    requests = sorted(
        (span for span in spans if span.name == "POST /score"), key=lambda span: span.start_time_unix_nano
    )
    (step,) = [span for span in spans if span.name == "score"]
    assert len(requests) == 3, "the second was answered from the cache, the third refused: neither was scored"
    assert (step.trace_id, step.parent_span_id) == (requests[0].trace_id, requests[0].span_id)
    assert (requests[1].trace_id.hex(), requests[1].parent_span_id.hex()) == (TRACE, PARENT)
    codes = [
        next(each.value.int_value for each in span.attributes if each.key == "http.response.status_code")
        for span in requests
    ]
    assert codes == [200, 200, 422]
    assert all(span.status.code == span.status.STATUS_CODE_UNSET for span in requests)
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    logged = [line["trace_id"] for line in lines if line["event"] == "request"]
    assert logged == [span.trace_id.hex() for span in requests]


def test_without_an_endpoint_nothing_is_traced(model: Path) -> None:
    log = io.StringIO()
    assert asyncio.run(ask(model, None, log)) == [200, 200, 422]
    assert "trace_id" not in log.getvalue()


def test_a_collector_that_is_away_costs_no_request(model: Path) -> None:
    assert asyncio.run(ask(model, "http://127.0.0.1:9", io.StringIO())) == [200, 200, 422]


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(TracingError, match=r"http://127\.0\.0\.1:4318"):
        open_provider("localhost:4317", "anything")
