"""The scoring service: `POST /score` over HTTP, in a Bento that carries the registered champion.

BentoML answers `/healthz`, `/livez` and `/readyz`. Scoring is a mounted ASGI app: several times faster than a
BentoML endpoint, with error messages of our own.
"""

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

import bentoml
import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.metrics import ROWS, Measured, metrics
from serving.openapi import description
from serving.schemas import Answer, Fault, ModelCard, RequestError, Verdict, parse_request
from serving.store import MODEL_ALIAS
from tapewatch.web.access import Access
from tapewatch.web.guard import Guard

if TYPE_CHECKING:
    from serving.loader import Scorer

MAX_BODY_BYTES = 4 * 1024 * 1024
#: Requests at a time; further ones are refused at once.
MAX_REQUESTS = 64
#: Rows that are scored before another request has its turn.
SLICE_ROWS = 16


_INDEX = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Tapewatch scoring</title>
<link rel="stylesheet" href="static_content/swagger-ui.css"></head><body><div id="swagger-ui"></div>
<script src="static_content/swagger-ui-bundle.js"></script>
<script src="static_content/swagger-ui-standalone-preset.js"></script>
<script>SwaggerUIBundle({url: "docs.json", dom_id: "#swagger-ui"})</script></body></html>
"""


def _respond(body: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")


def _refuse(status: int, why: str) -> Response:
    return _respond(Fault(why), status)


async def _body(request: Request) -> bytes | None:
    """The body, or None if it is too large."""
    chunks = bytearray()
    async for chunk in request.stream():
        chunks += chunk
        if len(chunks) > MAX_BODY_BYTES:
            return None
    return bytes(chunks)


async def score(request: Request) -> Response:
    """Score one row or several: 200 with an `Answer`, 413 or 422 with `{"error": …}`."""
    body = await _body(request)
    if body is None:
        return _refuse(413, f"the request is larger than {MAX_BODY_BYTES:,} bytes: send fewer rows")
    scorer: Scorer = request.app.state.scorer
    try:
        rows = await run_in_threadpool(parse_request, body, scorer.features)
        results: list[Verdict] = []
        for part in rows.iter_slices(SLICE_ROWS):
            # Waiting requests take turns, so that a single row waits for a slice of each large one and not for its end.
            async with request.app.state.turn:
                results += (await run_in_threadpool(scorer.answer, part)).results
            if await request.is_disconnected():
                break
    except RequestError as error:
        return _refuse(422, str(error))
    for verdict in results:
        ROWS.labels("not_scored" if verdict.not_scored else "anomaly" if verdict.is_anomaly else "ordinary").inc()
    return _respond(Answer(scorer.model, results))


async def model(request: Request) -> Response:
    """The model, its threshold, its features and the markets that it was trained on."""
    scorer: Scorer = request.app.state.scorer
    name, version = scorer.model.name, scorer.model.version
    return _respond(ModelCard(name, version, scorer.threshold, scorer.features, scorer.markets))


async def docs(_: Request) -> Response:
    """The OpenAPI description, which the first page shows."""
    return _respond(description())


async def index(_: Request) -> Response:
    """The description for people. BentoML's own page loads a script of Google's."""
    return Response(_INDEX, media_type="text/html")


def _access() -> Access:
    """From the variables that `tapewatch up` sets."""
    names = os.environ.get("TAPEWATCH_ALLOWED_HOSTS", "").split(",")
    return Access.of(os.environ.get("TAPEWATCH_HOST", ""), names, os.environ.get("TAPEWATCH_TOKEN", ""))


app = Starlette(
    routes=[
        Route("/score", score, methods=["POST"]),
        Route("/model", model, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
        Route("/", index, methods=["GET"]),
        Route("/docs.json", docs, methods=["GET"]),
    ]
)


@bentoml.service(
    name="TapewatchScoring",
    workers=1,
    http={"host": "127.0.0.1"},
    traffic={"timeout": 60, "max_concurrency": MAX_REQUESTS},
    metrics={"enabled": False},
)
@bentoml.asgi_app(app)
class TapewatchScoring:
    """Scores microstructure rows with the champion and explains the scores."""

    def __init__(self) -> None:
        # BentoML's parent process imports this module too, but does not need what takes seconds to import.
        from serving.loader import Scorer, quiet_garbage_collector  # noqa: PLC0415

        stored = bentoml.models.get(MODEL_ALIAS)
        metadata = stored.info.metadata
        scorer = Scorer.load(Path(stored.path), name=str(metadata["name"]), version=str(metadata["version"]))
        scorer.warm_up()
        app.state.scorer, app.state.turn = scorer, asyncio.Lock()
        quiet_garbage_collector()


TapewatchScoring.add_asgi_middleware(Measured)
TapewatchScoring.add_asgi_middleware(Guard, access=_access(), open_paths=("/healthz", "/livez", "/readyz"))
