"""The service's figures for Prometheus.

BentoML's own have a label for every path that anybody asks for, and so grow without end; here unknown paths share one.
"""

import time
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.exposition import generate_latest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_PATHS: Final = frozenset({"/", "/score", "/model", "/metrics", "/docs.json", "/healthz", "/livez", "/readyz"})
_REGISTRY: Final = CollectorRegistry()
ProcessCollector(registry=_REGISTRY)
_REQUESTS: Final = Counter(
    "tapewatch_scoring_requests", "Requests by path and status.", ["path", "status"], registry=_REGISTRY
)
_SECONDS: Final = Histogram(
    "tapewatch_scoring_request_seconds", "Seconds from request to answer.", ["path"], registry=_REGISTRY
)
ROWS: Final = Counter(
    "tapewatch_scoring_rows", "Rows by verdict: anomaly, ordinary or not_scored.", ["verdict"], registry=_REGISTRY
)


class Measured:
    """ASGI middleware that counts requests and their time."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in _PATHS else "other"
        begun = time.perf_counter()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                _REQUESTS.labels(path, message["status"]).inc()
            await send(message)

        try:
            await self._app(scope, receive, counted)
        finally:
            _SECONDS.labels(path).observe(time.perf_counter() - begun)


async def metrics(_: Request) -> Response:
    """All figures in Prometheus' text format."""
    return Response(generate_latest(_REGISTRY), media_type=CONTENT_TYPE_LATEST)
