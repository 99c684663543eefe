"""The models, health, metrics and the description."""

from typing import Final

from starlette.responses import Response

from serving.contract.messages import Health, ModelCard, Models
from serving.contract.openapi import description
from serving.http.operation import Call, operation, respond
from serving.http.problems import Problem
from serving.loader import Scorer
from serving.metrics import CONTENT_TYPE_LATEST, exposition
from serving.shadow import Shadow
from serving.store import CHALLENGER, CHAMPION

_PAGE_POLICY: Final = (
    "default-src 'none'; connect-src 'self'; img-src 'self' data:; script-src 'self' 'unsafe-inline'; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'none'"
)
_INDEX: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Tapewatch scoring</title>
<link rel="stylesheet" href="static_content/swagger-ui.css"></head><body><div id="swagger-ui"></div>
<script src="static_content/swagger-ui-bundle.js"></script>
<script src="static_content/swagger-ui-standalone-preset.js"></script>
<script>SwaggerUIBundle({url: "openapi.json", dom_id: "#swagger-ui"})</script></body></html>
"""


def card_of(scorer: Scorer, lineage: dict[str, str], shadow: Shadow | None = None) -> ModelCard:
    """What is known of the champion, or of the challenger in `shadow`."""
    manifest = scorer.detector.manifest
    return ModelCard(
        role=CHALLENGER if shadow else CHAMPION,
        agreement=shadow.agreement if shadow else None,
        name=scorer.model.name,
        version=scorer.model.version,
        detector=manifest.detector,
        threshold=scorer.threshold,
        feature_version=scorer.feature_version,
        schema_hash=manifest.schema_hash,
        features=scorer.features,
        markets=tuple(map(str, scorer.markets)),
        fit_window=tuple(manifest.fit_window),
        training_rows=manifest.rows,
        partitions=tuple(manifest.partitions),
        lineage=lineage,
    )


@operation()
async def models(call: Call) -> Response:
    """The model that scores, and the one in shadow, with the data and run that made them."""
    slot, shadow = call.deployment.slot, call.deployment.shadow
    cards = [card_of(slot.scorer, slot.lineage)]
    challenger = shadow.scorer
    if challenger is not None:
        cards.append(card_of(challenger, shadow.lineage, shadow))
    return respond(Models(cards, call.request_id))


@operation()
async def model(call: Call) -> Response:
    """The champion alone, as an earlier version of this service answered it."""
    slot = call.deployment.slot
    return respond(card_of(slot.scorer, slot.lineage))


@operation(is_open=True)
async def health(call: Call) -> Response:
    """The model that is ready, and for whom."""
    deployment = call.deployment
    return respond(Health("ready", deployment.slot.scorer.model, deployment.access()))


@operation(is_open=True)
async def metrics(_: Call) -> Response:
    """All figures in Prometheus' text format."""
    return Response(exposition(), media_type=CONTENT_TYPE_LATEST)


@operation(is_open=True)
async def openapi(_: Call) -> Response:
    """The OpenAPI description, which the first page shows."""
    return respond(description())


@operation(is_open=True)
async def docs(_: Call) -> Response:
    """The description for people. BentoML's own page loads a script of Google's."""
    return Response(_INDEX, media_type="text/html", headers={"Content-Security-Policy": _PAGE_POLICY})


@operation(is_open=True)
async def nothing(call: Call) -> Response:
    """The answer to a path that does not exist, or not with this method."""
    path, method = call.request.url.path[:200], call.request.method
    allowed = call.request.app.state.allowed.get(path)
    if allowed is None:
        raise Problem(404, "path", f"{path} is no path of this service", way_out="/docs lists the operations")
    methods = ", ".join(allowed)
    raise Problem(
        405,
        "method",
        f"{method} {path}",
        way_out=f"use {methods}; /docs lists the operations",
        headers={"Allow": methods},
    )
