"""Requests take turns: a single row waits for no large request to end."""

import asyncio
import json
from pathlib import Path

import httpx

from serving.loader import Scorer
from serving.schemas import MAX_ROWS
from serving.service import app
from tests.support.detectors import fitted

SINGLE = {"symbol": "AAPL", "event_time": "2024-06-03T13:31:00Z", "volume_ratio": 400.0}


def test_a_single_row_is_answered_before_large_requests_that_came_first(tmp_path: Path) -> None:
    fitted().save(tmp_path)
    ended: list[int] = []

    async def ask(client: httpx.AsyncClient, rows: int) -> None:
        answer = await client.post("/score", content=json.dumps({"rows": [SINGLE] * rows}))
        assert len(answer.raise_for_status().json()["results"]) == rows
        ended.append(rows)

    async def compete() -> None:
        app.state.scorer = Scorer.load(tmp_path, name="isolation_forest", version="3")
        app.state.turn = asyncio.Lock()
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=300) as client:
            await asyncio.gather(*(ask(client, rows) for rows in (MAX_ROWS, MAX_ROWS, MAX_ROWS, MAX_ROWS, 1)))

    asyncio.run(compete())
    assert ended == [1, MAX_ROWS, MAX_ROWS, MAX_ROWS, MAX_ROWS]
