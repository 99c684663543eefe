"""The scoring service as an ASGI application: its routes."""

from pathlib import Path

from starlette.applications import Starlette
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from serving.deployment import Deployment
from serving.operations import alerting, pages, scoring, webhook

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


def application(deployment: Deployment) -> Starlette:
    """An application of its own, without Swagger UI's files."""
    made = Starlette()
    made.state.deployment = deployment
    add_routes(made)
    return made


def add_routes(app: Starlette, static: Path | None = None) -> None:
    """Add every operation to an application whose `state.deployment` is set before the first request.

    Args:
        app: the application.
        static: folder of Swagger UI.
    """
    paths = [
        Route("/score", scoring.score, methods=["POST"]),
        Route("/explain", scoring.explain, methods=["POST"]),
        Route("/score_symbols", scoring.score_symbols, methods=["POST"]),
        Route("/score_bars", scoring.score_bars, methods=["POST"]),
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
