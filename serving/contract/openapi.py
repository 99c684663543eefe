"""The OpenAPI description of the service, made from the types of its requests and answers, with an example of every operation."""

from functools import cache
from typing import Any, Final

import msgspec

from serving.contract import examples
from serving.contract.arrow import ARROW
from serving.contract.messages import (
    Agreement,
    Alert,
    Alerts,
    BarsRequest,
    Feedback,
    FeedbackAnswer,
    Health,
    ModelCard,
    Models,
    SymbolsRequest,
    WebhookAnswer,
)
from serving.http.operation import MAX_BODY_BYTES
from serving.http.problems import MEDIA_TYPE as PROBLEM
from serving.http.problems import ProblemDetails
from serving.operations.alerts import LEVELS
from serving.schemas import MAX_ROWS, Answer, Batch, Row
from tapewatch.market.instruments import Market

_REF: Final = "#/components/schemas/{name}"
_JSON: Final = "application/json"
_TYPES: Final = (
    *(Row, Batch, Answer, SymbolsRequest, BarsRequest, Alert, Alerts, Feedback, FeedbackAnswer),
    *(Models, ModelCard, Agreement, Health, WebhookAnswer, ProblemDetails),
)
_REFUSALS: Final = {
    "400": "the connection was closed before the request had come",
    "401": "an API key is needed, or is not valid",
    "403": "the API key lacks the scope, or a page of another site asks",
    "408": "the request took too long",
    "429": "the key's requests of this minute are used up; `Retry-After` says when to go on",
    "503": "the service, or a store that it reads, is not ready; `Retry-After` says when to try again",
}
_BODY_REFUSALS: Final = {
    "413": f"the body is larger than {MAX_BODY_BYTES:,} bytes",
    "415": "the content type is not accepted",
    "422": "the body does not fit its schema, or holds nothing that can be scored; `field` names the value at fault",
}
_QUERY_REFUSALS: Final = {"422": "a parameter is wrong; `field` names it"}


@cache
def description() -> dict[str, Any]:
    """The document of OpenAPI 3.1."""
    schemas, components = msgspec.json.schema_components(_TYPES, ref_template=_REF)
    of = dict(zip((each.__name__ for each in _TYPES), schemas, strict=True))
    reasons = _parameter("reasons", {"type": "boolean", "default": False}, "whether to give the strongest reasons")
    row = {"anyOf": [of["Batch"], of["Row"]]}
    arrow = {ARROW: {"schema": {"type": "string", "format": "binary"}}}
    answer = _said("a verdict for each row, in their order", of["Answer"], examples.ANSWER)
    answer["content"] |= arrow
    explained = _said("verdicts with reasons", of["Answer"], examples.EXPLAINED)
    explained["content"] |= arrow
    problem, paths = of["ProblemDetails"], {}

    def post(path: str, summary: str, text: str, body: dict[str, Any], answered: dict[str, Any], **more: Any) -> None:
        refusals = _refusals(_REFUSALS | _BODY_REFUSALS | more.pop("refusals", {}), problem)
        refusals |= more.pop("responses_too", {})
        paths[path] = {
            "post": {
                "operationId": _name(path),
                "summary": summary,
                "description": text,
                "requestBody": {"required": True, "content": body},
                "responses": {"200": answered} | refusals,
                **more,
            }
        }

    def get(path: str, summary: str, answered: dict[str, Any], **more: Any) -> None:
        refusals = _refusals(_REFUSALS | more.pop("refusals", {}), problem)
        operation = {"operationId": _name(path), "summary": summary, "responses": {"200": answered} | refusals, **more}
        paths[path] = {"get": operation}

    post(
        "/score",
        "Score rows of features/microstructure.",
        f"One row, or up to {MAX_ROWS:,}, as JSON or as an uncompressed Arrow IPC stream. A row may leave features out; they "
        "count as unknown. A row that the model was not made for is not scored, and says why. With `Accept: "
        f"{ARROW}` the answer is an Arrow IPC stream of the same columns; its schema's metadata name the model. Scope: score.",
        _content(row, examples.ROWS) | arrow,
        answer,
        parameters=[reasons],
    )
    post(
        "/explain",
        "Score rows and say why, in words.",
        "As /score, with the strongest reasons of each row; up to 1,000 rows. Scope: explain.",
        _content(row, examples.ROWS) | arrow,
        explained,
    )
    post(
        "/score_symbols",
        "Score the newest features of symbols.",
        "Features come from the online store, with their age. A symbol that the store has no features of, or only stale ones, is not "
        "scored; if no symbol can be, the request is refused. Scope: score.",
        _content(of["SymbolsRequest"], examples.SYMBOLS),
        _said("a verdict for each symbol, in their order", of["Answer"], examples.SYMBOLS_ANSWER),
    )
    post(
        "/score_bars",
        "Score minutes of recent tape.",
        "Features are computed here from trades and quotes, or from minute bars. Scope: score.",
        _content(of["BarsRequest"], examples.BARS),
        _said("a verdict for each minute, by symbol and time", of["Answer"], examples.BARS_ANSWER),
    )
    post(
        "/feedback",
        "Confirm or dismiss an alert or incident.",
        "The key's name is the author; a later verdict replaces the earlier. Scope: feedback.",
        _content(of["Feedback"], examples.FEEDBACK),
        _said("the verdict as it was recorded", of["FeedbackAnswer"], examples.FEEDBACK_ANSWER),
        refusals={"404": "there is no such alert"},
    )
    post(
        "/webhooks/mlflow",
        "MLflow says that an alias was set.",
        "The version that became champion is served at once, if it is packaged. Signed by MLflow instead of a key: "
        "`X-MLflow-Signature`.",
        _content({"type": "object"}, examples.ALIAS_EVENT),
        _said("what became of it", of["WebhookAnswer"], examples.WEBHOOK_ANSWER),
        responses_too={"202": _said("the version is not packaged yet", of["WebhookAnswer"], examples.WEBHOOK_WAITING)},
        security=[{}],
    )
    listed = _said("alerts, newest first", of["Alerts"], examples.ALERTS)
    get(
        "/alerts",
        "Alerts, incidents and anomalies.",
        listed,
        parameters=_alert_parameters(),
        refusals=_QUERY_REFUSALS,
    )
    stream = {
        "description": "events `alert`, whose data is an Alert",
        "content": {"text/event-stream": {"schema": {"type": "string"}, "example": examples.EVENT}},
    }
    resumes = _parameter("Last-Event-ID", {"type": "string"}, "the id of the last event that was received", "header")
    get(
        "/alerts/stream",
        "New alerts, as server-sent events.",
        stream,
        parameters=[resumes, *_alert_parameters(("market", "symbol"))],
        refusals=_QUERY_REFUSALS,
    )
    get(
        "/models",
        "The model that scores and the one in shadow, with their data and runs.",
        _said("models", of["Models"], examples.MODELS),
    )
    get("/model", "The champion alone.", _said("the champion", of["ModelCard"], examples.CARD))
    get("/health", "The model that is ready, and for whom.", _said("health", of["Health"], examples.HEALTH))
    for path, (text, media, example) in _PAGES.items():
        content = {media: {"schema": {} if media == _JSON else {"type": "string"}, "example": example}}
        get(path, text, {"description": "the page", "content": content})
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tapewatch scoring", "version": "2"},
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": _SCHEMES},
        "security": [{}, *({name: []} for name in _SCHEMES)],
    }


_SCHEMES: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "an API key, or TAPEWATCH_TOKEN"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_PAGES: Final = {
    "/metrics": ("Figures for Prometheus.", "text/plain", 'tapewatch_scoring_rows_total{verdict="anomaly"} 3.0'),
    "/openapi.json": ("This description.", _JSON, {"openapi": "3.1.0"}),
    "/docs": ("This description, for people.", "text/html", "<!doctype html>…"),
    "/livez": ("Answers while the process runs.", "text/plain", ""),
    "/readyz": ("Answers once the model is loaded and warm.", "text/plain", ""),
    "/healthz": ("As /readyz.", "text/plain", ""),
}


def _alert_parameters(names: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    time, text = {"type": "string", "format": "date-time"}, {"type": "string", "minLength": 1, "maxLength": 64}
    every = {
        "start": (time, "alerts that begin at this time or later"),
        "end": (time, "alerts that begin before this time"),
        "market": ({"type": "string", "enum": [str(market) for market in Market]}, "one market"),
        "symbol": (text, "one symbol"),
        "kind": (text, "one kind of anomaly, or rule"),
        "level": ({"type": "string", "enum": list(LEVELS)}, "alerts of this severity"),
        "one_in_hours": (
            {"type": "number", "minimum": 0, "maximum": 1e9},
            "incidents and anomalies that ordinary tape brings at most once in this number of hours",
        ),
        "source": ({"type": "string", "enum": ["alert", "incident", "anomaly"]}, "live rules, scan or detector"),
        "limit": ({"type": "integer", "minimum": 1, "maximum": 1_000, "default": 100}, "the most that are listed"),
    }
    return [_parameter(name, *every[name]) for name in names or every]


def _parameter(name: str, schema: dict[str, Any], text: str, place: str = "query") -> dict[str, Any]:
    return {"name": name, "in": place, "required": False, "schema": schema, "description": text}


def _content(schema: dict[str, Any], example: object) -> dict[str, Any]:
    return {_JSON: {"schema": schema, "example": example}}


def _said(what: str, schema: dict[str, Any], example: object) -> dict[str, Any]:
    return {"description": what, "content": _content(schema, example)}


def _refusals(reasons: dict[str, str], schema: dict[str, Any]) -> dict[str, Any]:
    return {
        status: {"description": why, "content": {PROBLEM: {"schema": schema}}}
        for status, why in sorted(reasons.items())
    }


def _name(path: str) -> str:
    return path.strip("/").replace("/", "_").replace(".", "_")


if __name__ == "__main__":
    import sys

    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(description()), indent=1) + b"\n")
