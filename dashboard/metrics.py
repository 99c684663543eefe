"""The dashboard's figures for Prometheus, at `/metrics`: a program reads them with a token of an account."""

import time
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PATH: Final = "/metrics"
_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Figures:
    """What is counted in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "tapewatch_dashboard_requests",
            "Requests by part: access (login and accounts), tape (candles, exports, events), pages.",
            ["part", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "tapewatch_dashboard_request_seconds",
            "Time until an answer began.",
            ["part"],
            registry=self.registry,
            buckets=_BUCKETS_S,
        )
        self.open = Gauge(
            "tapewatch_dashboard_open",
            "Connections that last: websocket (a page in a browser), events (a stream of live bars and alerts).",
            ["kind"],
            registry=self.registry,
        )
        for kind in ("websocket", "events"):
            self.open.labels(kind)

    def route(self) -> Route:
        """The page of the figures."""

        async def figures(_: Request) -> Response:
            return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)

        return Route(PATH, figures)


class Counting:
    """ASGI middleware, the outermost: counts what is refused too."""

    def __init__(self, app: ASGIApp, *, figures: Figures) -> None:
        self._app, self._figures = app, figures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            with self._figures.open.labels("websocket").track_inprogress():
                await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._request(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        figures, part, began, streams = self._figures, _part(scope["path"]), time.perf_counter(), 0

        async def counted(message: Message) -> None:
            nonlocal streams
            if message["type"] == "http.response.start":
                figures.requests.labels(part, str(message["status"])).inc()
                figures.seconds.labels(part).observe(time.perf_counter() - began)
                if any(value.startswith(b"text/event-stream") for _, value in message.get("headers", ())):
                    streams = 1
                    figures.open.labels("events").inc()
            await send(message)

        try:
            await self._app(scope, receive, counted)
        finally:
            figures.open.labels("events").dec(streams)


def _part(path: str) -> str:
    first = path.split("/", 2)[1] if path.startswith("/") else ""
    return first if first in ("access", "tape") else "pages"
