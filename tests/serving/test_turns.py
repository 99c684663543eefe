"""Requests take turns: a single row waits for no large request to end."""

import asyncio
import itertools
import json
from pathlib import Path

import httpx
import pytest

from models.served.loading import write_graphs
from serving.app import application
from serving.schemas import MAX_ROWS
from tests.support.detectors import fitted
from tests.support.scoring import deployment_of

SINGLE = {"symbol": "AAPL", "event_time": "2024-06-03T13:31:00Z", "volume_ratio": 400.0}


@pytest.mark.long
def test_a_single_row_is_answered_before_large_requests_that_came_first(tmp_path: Path) -> None:
    fitted().save(tmp_path)
    write_graphs(tmp_path, tmp_path)
    ended: list[int] = []
    number = itertools.count()

    async def ask(client: httpx.AsyncClient, rows: int) -> None:
        # Each is another request: equal ones would be answered together.
        row = SINGLE | {"return_bps": float(next(number))}
        body = json.dumps({"rows": [row] * rows})
        answer = await client.post("/score", content=body, headers={"content-type": "application/json"})
        assert len(answer.raise_for_status().json()["results"]) == rows
        ended.append(rows)

    async def compete() -> None:
        transport = httpx.ASGITransport(application(deployment_of(tmp_path)))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=300) as client:
            await asyncio.gather(*(ask(client, rows) for rows in (MAX_ROWS, MAX_ROWS, MAX_ROWS, MAX_ROWS, 1)))

    asyncio.run(compete())
    assert ended == [1, MAX_ROWS, MAX_ROWS, MAX_ROWS, MAX_ROWS]
