"""Bodies that come slowly, in parts, or never; and the log of what was answered."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Sequence

import pytest

from serving.app import Application, application
from serving.http import operation
from serving.http.log import Log
from tests.support.scoring import deployment_of, save_detector

ROW = b'{"symbol": "AAPL", "event_time": "2024-06-03T14:25:00Z", "volume_ratio": 400.0}'


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Application:
    model = save_detector(tmp_path_factory.mktemp("model"))
    return application(deployment_of(model, model, scoring_log_requests=False))


async def endless() -> AsyncIterator[bytes]:
    """A body that never ends, a byte at a time."""
    while True:
        yield b"x"
        await asyncio.sleep(3_600)


async def parts(*given: bytes) -> AsyncIterator[bytes]:
    for each in given:
        yield each


async def post(app: Application, body: AsyncIterator[bytes], path: str = "/score") -> tuple[int, bytes, int]:
    """Status, content, and how many parts of the body were read."""
    sent: list[dict[str, object]] = []
    read = 0

    async def receive() -> dict[str, object]:
        nonlocal read
        chunk = await anext(body, None)
        read += chunk is not None
        return {"type": "http.request", "body": chunk or b"", "more_body": chunk is not None}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}
    await app(scope, receive, send)
    return int(str(sent[0]["status"])), bytes(sent[1]["body"]), read  # type: ignore[arg-type]


@pytest.mark.long
def test_clients_that_never_finish_their_requests_keep_no_others_waiting(app: Application) -> None:
    async def scenario() -> int:
        slow = [asyncio.create_task(post(app, endless())) for _ in range(operation.MAX_REQUESTS + 44)]
        await asyncio.sleep(0)
        status, _, _ = await post(app, parts(ROW))
        for task in slow:
            assert not task.done()
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        return status

    assert asyncio.run(scenario()) == 200
    deployment = app.state.deployment
    assert (deployment.under_way, deployment.arriving) == (0, 0)


def test_a_request_that_is_not_finished_in_time_is_given_up(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operation, "PATIENCE_S", 0.01)
    status, content, _ = asyncio.run(post(app, endless()))
    assert status == 408
    assert json.loads(content)["way_out"]


def test_a_body_in_parts_is_that_in_one(app: Application) -> None:
    async def both() -> Sequence[tuple[int, bytes, int]]:
        return [await post(app, parts(ROW)), await post(app, parts(ROW[:7], b"", ROW[7:30], ROW[30:]))]

    whole, split = asyncio.run(both())
    assert [whole[0], split[0]] == [200, 200]
    assert json.loads(whole[1])["results"] == json.loads(split[1])["results"]


def test_a_body_that_is_too_large_is_not_read_to_its_end(app: Application) -> None:
    chunk = b"x" * 2**20
    status, content, read = asyncio.run(post(app, parts(*[chunk] * 50)))
    assert (status, read) == (413, 5)
    assert json.loads(content)["status"] == 413


def test_bodies_that_together_take_too_much_memory_are_refused(
    app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operation, "MAX_ARRIVING_BYTES", 100)
    status, content, _ = asyncio.run(post(app, parts(b"x" * 60, b"x" * 60, b"x")))
    assert status == 503
    assert "arriving" in json.loads(content)["detail"]
    assert asyncio.run(post(app, parts(ROW)))[0] == 200


def test_answered_requests_are_logged_by_the_next_flush_and_refused_ones_at_once() -> None:
    stream = io.StringIO()
    log = Log(stream)
    log.request({"status": 200, "path": "/score", "request_id": "1"})
    assert (stream.getvalue(), log.waits) == ("", True)
    log.request({"status": 422, "path": "/score", "request_id": "2"})
    log.request({"status": 200, "path": "/feedback", "request_id": "3"})
    log.request({"status": 200, "path": "/score", "request_id": "4"})
    log.flush()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["request_id"] for line in lines] == ["1", "2", "3", "4"]
    assert {line["event"] for line in lines} == {"request"}
    quiet = Log(io.StringIO(), is_quiet=True)
    assert [quiet.wants(*each) for each in ((200, "/score"), (200, "/feedback"), (422, "/score"))] == [
        False,
        True,
        True,
    ]
