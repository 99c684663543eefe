"""The scoring service as an ASGI application: its routes."""

from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from serving.deployment import Deployment
from serving.operations import alerting, pages, scoring, webhook

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")

_SCORING: Final[dict[str, Any]] = {
    "/score": scoring.score,
    "/explain": scoring.explain,
    "/score_symbols": scoring.score_symbols,
    "/score_bars": scoring.score_bars,
}


class Application(Starlette):
    """The service's application. It calls the operations that score directly, since searching the routes takes longer than a score.

    These never raise: whatever happens becomes an answer.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = _SCORING.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if endpoint is None:
            await super().__call__(scope, receive, send)
            return
        scope["app"] = self
        response = await endpoint(Request(scope, receive, send))
        await response(scope, receive, send)


def application(deployment: Deployment, static: Path | None = None) -> Application:
    """The application of a deployment, with every operation.

    Args:
        deployment: what answers.
        static: folder of Swagger UI's files.
    """
    app = Application()
    app.state.deployment = deployment
    paths = [
        *(Route(path, endpoint, methods=["POST"]) for path, endpoint in _SCORING.items()),
        Route("/alerts", alerting.alerts, methods=["GET"]),
        Route("/alerts/stream", alerting.alert_stream, methods=["GET"]),
        Route("/feedback", alerting.feedback, methods=["POST"]),
        Route("/webhooks/mlflow", webhook.mlflow, methods=["POST"]),
        Route("/models", pages.models, methods=["GET"]),
        Route("/model", pages.model, methods=["GET"]),
        Route("/health", pages.health, methods=["GET"]),
        Route("/metrics", pages.metrics, methods=["GET"]),
        Route("/openapi.json", pages.openapi, methods=["GET"]),
        Route("/docs.json", pages.openapi, methods=["GET"]),
        Route("/docs", pages.docs, methods=["GET"]),
        Route("/", pages.docs, methods=["GET"]),
    ]
    app.state.allowed = {route.path: sorted(route.methods or ()) for route in paths}
    pages_of_docs = [Mount("/static_content", StaticFiles(directory=static))] if static else []
    app.router.routes.extend([*paths, *pages_of_docs, Route("/{path:path}", pages.nothing, methods=_METHODS)])
    return app
