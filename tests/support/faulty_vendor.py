"""A small real HTTP server instead of the vendor, with faults chosen by a test.

It holds trades, quotes, bars and tickers in memory, pages them with `next_url`, and lets a test alter any reply by its
number. Unlike the emulator it has no market.
"""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

KEY = "test-only-not-a-secret-0123456789"  # pragma: allowlist secret
Body = dict[str, Any]
#: Alters a reply: receives the correct body and returns a body, raw bytes, or a whole response.
Fault = Callable[[Body], Body | bytes | Response]


@dataclass
class SeenRequest:
    """One received request."""

    path: str
    query: dict[str, str]
    authorization: str
    at: float


@dataclass
class FaultyVendor:
    """The server's content, faults and received requests. They may be changed between requests."""

    rows: dict[str, list[Body]] = field(default_factory=dict)
    tickers: list[str] = field(default_factory=list)
    conditions: list[Body] = field(default_factory=list)
    faults: dict[int, Fault] = field(default_factory=dict)
    every_fault: Fault | None = None
    largest_page: int = 50_000
    unknown_path: str | None = None
    truth: dict[str, list[Body]] | None = None
    status: Body = field(default_factory=dict)
    seen: list[SeenRequest] = field(default_factory=list)
    base_url: str = ""

    async def answer(self, request: Request) -> Response:
        """Serve one request."""
        number = len(self.seen) + 1
        query = dict(request.query_params)
        self.seen.append(
            SeenRequest(request.url.path, query, request.headers.get("authorization", ""), time.monotonic())
        )
        body: Body | bytes | Response
        if self.unknown_path is not None and request.url.path.startswith(self.unknown_path):
            return Response('{"status":"NOT_FOUND"}', 404)
        if request.url.path == "/v3/reference/tickers":
            wanted = query.get("ticker")
            listed = [t for t in self.tickers if wanted in (None, t) and query.get("active") != "false"]
            body = {"status": "OK", "results": [{"ticker": ticker, "name": ticker} for ticker in listed]}
        elif request.url.path == "/futures/v1/contracts":
            listed = [ticker for ticker in self.tickers if ticker == query["ticker"]]
            body = {"status": "OK", "results": [{"ticker": ticker} for ticker in listed]}
        elif "/contracts/" in request.url.path:
            if request.url.path.rsplit("/", 1)[-1] not in self.tickers:
                return Response('{"status":"NOT_FOUND"}', 404)
            body = {"status": "OK", "results": {}}
        elif request.url.path == "/v3/reference/conditions":
            body = {"status": "OK", "results": self.conditions}
        elif request.url.path == "/emulator/v1/truth":
            if self.truth is None:
                return Response('{"status":"NOT_FOUND"}', 404)
            body = {"status": "OK", "results": self.truth.get(query["ticker"], [])}
        elif request.url.path == "/v1/marketstatus/now":
            body = self.status
        else:
            body = self._page(request, query)
        fault = self.faults.get(number) or self.every_fault
        body = fault(body) if fault else body
        if isinstance(body, Response):
            return body
        return Response(body if isinstance(body, bytes) else json.dumps(body), media_type="application/json")

    def _page(self, request: Request, query: dict[str, str]) -> Body:
        parts = request.url.path.strip("/").split("/")
        is_futures = parts[0] == "futures"
        is_bars = parts[1] == "aggs"
        ticker, table = (parts[3], "bars") if is_bars else (parts[2], parts[1])
        if is_futures:
            ticker, table = parts[3], "bars" if parts[2] == "aggs" else parts[2]
        start, low, high, limit = self._asked(parts, query, is_bars)
        time_of = (lambda row: row["t"]) if is_bars else _tape_time
        wanted = sorted(
            (row for row in self.rows.get(f"{table}/{ticker}", []) if low <= time_of(row) < high), key=time_of
        )
        limit = min(limit, self.largest_page)
        rows = wanted[start : start + limit]
        body: Body = {"status": "OK", "request_id": "r", "results": rows}
        if is_bars:
            body |= {"ticker": ticker, "resultsCount": len(rows), "queryCount": len(rows), "adjusted": False}
            if not rows:
                del body["results"]
        if start + limit < len(wanted):
            cursor = f"{start + limit}.{low}.{high}.{limit}"
            body["next_url"] = f"{self.base_url}{request.url.path}?cursor={cursor}"
        return body

    @staticmethod
    def _asked(parts: list[str], query: dict[str, str], is_bars: bool) -> tuple[int, int, int, int]:
        if "cursor" in query:
            start, low, high, limit = (int(part) for part in query["cursor"].split("."))
            return start, low, high, limit
        if is_bars:
            return 0, int(parts[-2]), int(parts[-1]) + 1, int(query["limit"])
        field = "window_start" if "window_start.gte" in query else "timestamp"
        return 0, int(query[f"{field}.gte"]), int(query[f"{field}.lt"]), int(query["limit"])


def _tape_time(row: Body) -> int:
    names = ("sip_timestamp", "participant_timestamp", "timestamp", "window_start")
    time_ns = next((row[name] for name in names if row.get(name)), 0)
    return time_ns if isinstance(time_ns, int) else 0


@contextmanager
def faulty_vendor() -> Iterator[FaultyVendor]:
    """The server on a free loopback port, stopped at the end."""
    vendor = FaultyVendor()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        vendor.base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        app = Starlette(routes=[Route("/{path:path}", vendor.answer)])
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.005)
        try:
            yield vendor
        finally:
            server.should_exit = True
            thread.join(timeout=180)
