"""The scoring service in a Bento that carries the registered champion.

BentoML starts the worker and answers `/healthz`, `/livez` and `/readyz`. Everything else is an ASGI app of our own in front of
BentoML's, whose middleware takes longer than a score.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

import bentoml
from bentoml._internal import server
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.store import MODEL_ALIAS
from tapewatch.web.access import Access
from tapewatch.web.guard import Guard

if TYPE_CHECKING:
    from serving.app import Application

_HEALTH: Final = ("/healthz", "/livez", "/readyz")


def _access() -> Access:
    """From the variables that `tapewatch up` sets."""
    names = os.environ.get("TAPEWATCH_ALLOWED_HOSTS", "").split(",")
    return Access.of(os.environ.get("TAPEWATCH_HOST", ""), names, os.environ.get("TAPEWATCH_TOKEN", ""))


def _proves(headers: Headers) -> bool:
    """Whether a request carries a valid API key."""
    app = Front.app
    return app is not None and app.state.deployment.gate.knows(headers)


class Front:
    """Passes requests to our application; to BentoML's the worker's start and end, and the pages that say whether it works."""

    #: Made as a worker starts: BentoML's parent process imports this module too, and needs nothing behind it.
    app: ClassVar["Application | None"] = None

    def __init__(self, bento: ASGIApp) -> None:
        self._bento = bento

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_ours = self.app is not None and scope["type"] == "http" and scope["path"] not in _HEALTH
        await (self.app if is_ours else self._bento)(scope, receive, send)  # type: ignore[misc]


class FrontedService(bentoml.Service["TapewatchScoring"]):
    """A service whose workers answer through a guard and `Front`."""

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        return Guard(
            Front(super().to_asgi(is_main)),
            access=_access(),
            # Whether the service works; and what MLflow signs.
            open_paths=(*_HEALTH, "/webhooks/mlflow"),
            proves=_proves,
        )


@bentoml.service(
    name="TapewatchScoring",
    service_class=FrontedService,
    workers=1,
    http={"host": "127.0.0.1", "cors": {"enabled": False}},
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
    # Spans that nobody collects would take longer than the score.
    tracing={"excluded_urls": [".*"]},
)
class TapewatchScoring:
    """Scores microstructure rows with the champion and explains the scores."""

    def __init__(self) -> None:
        from serving.app import application  # noqa: PLC0415 - as above
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
        Front.app = application(self.deployment, Path(server.__file__).parent / "static_content")
        quiet_garbage_collector()

    @bentoml.on_startup
    async def begin(self) -> None:
        """Read the keys and begin to look for newer models."""
        await self.deployment.start()

    @bentoml.on_shutdown
    async def end(self) -> None:
        """Write what is kept, and close the stores."""
        await self.deployment.stop()
