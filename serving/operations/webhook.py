"""`/webhooks/mlflow`: MLflow says that an alias was set."""

import asyncio
import datetime as dt
from typing import Annotated, Final

import msgspec
from starlette.responses import Response

from models.base import CHAMPIONS_OF_MINUTES
from serving.contract.messages import WebhookAnswer
from serving.deployment import Deployment
from serving.http.operation import Call, operation, respond
from serving.http.problems import Problem
from serving.http.signature import expect_signed
from serving.schemas import RequestError
from serving.store import CHALLENGER, CHAMPION, StoredModel, point, pointed, tag_of

_ENTITY: Final = "model_version_alias"
_TEXT = Annotated[str, msgspec.Meta(max_length=256)]


class _Data(msgspec.Struct, frozen=True):
    name: _TEXT = ""
    alias: _TEXT = ""
    version: _TEXT = ""


class _Event(msgspec.Struct, frozen=True):
    """What MLflow posts."""

    entity: _TEXT
    action: _TEXT
    timestamp: Annotated[dt.datetime, msgspec.Meta(tz=True)]
    data: _Data = _Data()


_decoder = msgspec.json.Decoder(_Event)


@operation(is_open=True)
async def mlflow(call: Call) -> Response:
    """Serve the version that became champion, if the store has it. The signature takes the place of a key."""
    deployment, body = call.deployment, await call.body()
    if deployment.webhook_secret is None:
        raise Problem(
            503,
            "no-secret",
            "this deployment takes no webhooks",
            way_out="set TAPEWATCH_SCORING_WEBHOOK_SECRET; without it the service follows serving/anomaly_bento alone",
        )
    expect_signed(deployment.webhook_secret, call.request.headers, body)
    try:
        event = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(str(error)) from error
    outcome, why = await asyncio.to_thread(_follow, deployment, event)
    data = event.data
    deployment.log.write(
        "webhook", request_id=call.request_id, model=f"{data.name} {data.version}", outcome=outcome, reason=why
    )
    return respond(WebhookAnswer(outcome, why, call.request_id), 202 if outcome == "waiting" else 200)


def _follow(deployment: Deployment, event: _Event) -> tuple[str, str]:
    data, slot, home = event.data, deployment.slot, deployment.slot.bento_home
    if (event.entity, event.action, data.alias) != (_ENTITY, "created", CHAMPION) or home is None:
        return "ignored", "it sets no champion"
    served = slot.scorer.model.name
    known = CHAMPIONS_OF_MINUTES
    followed = known[: known.index(served) + 1] if served in known else (*known, served)
    if data.name not in followed:
        return "ignored", f"{served} comes before {data.name}"
    with deployment.webhook_lock:
        # Deliveries may overtake each other, or be sent again.
        if event.timestamp.timestamp() <= deployment.newest_event:
            return "ignored", "a later event was followed before"
        tag = tag_of(data.name, data.version)
        if StoredModel.find(home, tag) is None:
            return "waiting", f"{data.name} {data.version} is not in the store: materialize serving/anomaly_bento"
        deployment.newest_event = event.timestamp.timestamp()
        point(home, CHAMPION, tag)
        if pointed(home, CHALLENGER) == tag:
            point(home, CHALLENGER, "")
    slot.look(deployment.log)
    if slot.tag != tag:
        return "refused", f"{data.name} {data.version} cannot be served: the log says why"
    return "served", ""
