"""The scoring service: `POST /score` over HTTP, in a Bento that carries the registered champion.

BentoML answers `/healthz`, `/livez`, `/readyz` and `/metrics`. Scoring is a mounted ASGI app: several times faster than a
BentoML endpoint, with error messages of our own.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import bentoml
import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.schemas import RequestError, parse_request
from serving.store import MODEL_ALIAS

if TYPE_CHECKING:
    from serving.loader import Scorer

MAX_BODY_BYTES = 4 * 1024 * 1024


def _respond(body: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")


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
        return _respond({"error": f"the request is larger than {MAX_BODY_BYTES:,} bytes: send fewer rows"}, 413)
    scorer: Scorer = request.app.state.scorer
    try:
        rows = parse_request(body, scorer.features)
        return _respond(await run_in_threadpool(scorer.answer, rows))
    except RequestError as error:
        return _respond({"error": str(error)}, 422)


async def model(request: Request) -> Response:
    """The model, its threshold and its features."""
    scorer: Scorer = request.app.state.scorer
    return _respond(
        {
            "name": scorer.model.name,
            "version": scorer.model.version,
            "threshold": scorer.detector.threshold,
            "features": scorer.features,
        }
    )


app = Starlette(routes=[Route("/score", score, methods=["POST"]), Route("/model", model, methods=["GET"])])


@bentoml.service(name="TapewatchScoring", workers=1, http={"host": "127.0.0.1"}, traffic={"timeout": 60})
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
        app.state.scorer = scorer
        quiet_garbage_collector()
