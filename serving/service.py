"""The scoring service in a Bento that carries the registered champion.

BentoML answers `/healthz`, `/livez` and `/readyz`. Everything else is a mounted ASGI app: several times faster than a
BentoML endpoint, with error messages of our own.
"""

import os
from pathlib import Path

import bentoml
from bentoml._internal import server
from starlette.applications import Starlette
from starlette.datastructures import Headers

from serving.store import MODEL_ALIAS
from tapewatch.web.access import Access
from tapewatch.web.guard import Guard


def _access() -> Access:
    """From the variables that `tapewatch up` sets."""
    names = os.environ.get("TAPEWATCH_ALLOWED_HOSTS", "").split(",")
    return Access.of(os.environ.get("TAPEWATCH_HOST", ""), names, os.environ.get("TAPEWATCH_TOKEN", ""))


def _proves(headers: Headers) -> bool:
    """Whether a request carries a valid API key."""
    deployment = getattr(app.state, "deployment", None)
    return deployment is not None and deployment.gate.knows(headers)


#: Gets its routes as a worker starts: BentoML's parent process imports this module too, and needs nothing behind them.
app = Starlette()


@bentoml.service(
    name="TapewatchScoring",
    workers=1,
    http={"host": "127.0.0.1", "cors": {"enabled": False}},
    # The application gives a request up before. A larger timeout would keep a timer of every request for as long.
    traffic={"timeout": 31, "max_concurrency": 1_024},
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
    # Spans that nobody collects would take longer than the score.
    tracing={"excluded_urls": [".*"]},
)
@bentoml.asgi_app(app)
class TapewatchScoring:
    """Scores microstructure rows with the champion and explains the scores."""

    def __init__(self) -> None:
        from serving.app import add_routes  # noqa: PLC0415 - as above
        from serving.deployment import Deployment  # noqa: PLC0415
        from serving.loader import Scorer, quiet_garbage_collector  # noqa: PLC0415
        from serving.swap import Slot  # noqa: PLC0415
        from tapewatch.settings import Settings  # noqa: PLC0415

        stored = bentoml.models.get(MODEL_ALIAS)
        facts = {str(name): str(value) for name, value in stored.info.metadata.items()}
        scorer = Scorer.load(Path(stored.path), name=facts.pop("name"), version=facts.pop("version"))
        scorer.warm_up()
        home = os.environ.get("BENTOML_HOME")
        slot = Slot(scorer, facts, Path(home) if home else None, stored.tag.version or "")
        self.deployment = Deployment.of(Settings(), slot)
        app.state.deployment = self.deployment
        add_routes(app, Path(server.__file__).parent / "static_content")
        quiet_garbage_collector()

    @bentoml.on_startup
    async def begin(self) -> None:
        """Read the keys and begin to look for newer models."""
        await self.deployment.start()

    @bentoml.on_shutdown
    async def end(self) -> None:
        """Write what is kept, and close the stores."""
        await self.deployment.stop()


TapewatchScoring.add_asgi_middleware(
    Guard,
    access=_access(),
    # Whether the service works; and what MLflow signs.
    open_paths=("/healthz", "/livez", "/readyz", "/webhooks/mlflow"),
    proves=_proves,
)
