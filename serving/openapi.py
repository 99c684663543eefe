"""The OpenAPI description of the service, made from the types of its requests and answers."""

from functools import cache
from typing import Any, Final

import msgspec

from serving.schemas import Answer, Batch, Fault, ModelCard, Row

_REF: Final = "#/components/schemas/{name}"
_JSON: Final = "application/json"


@cache
def description() -> dict[str, Any]:
    """The document of OpenAPI 3.1."""
    (row, batch, answer, fault, card), components = msgspec.json.schema_components(
        [Row, Batch, Answer, Fault, ModelCard], ref_template=_REF
    )
    refusals = {"413": "the body is too large", "415": "the body is no JSON", "422": "the rows cannot be scored"}
    score = {
        "summary": "Score rows of features/microstructure, one or up to 1,000.",
        "requestBody": {"required": True, "content": {_JSON: {"schema": {"anyOf": [batch, row]}}}},
        "responses": {"200": _said("a verdict for each row, in their order", answer)}
        | {status: _said(why, fault) for status, why in refusals.items()},
    }
    model = {"summary": "The model that scores.", "responses": {"200": _said("its name, version and features", card)}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tapewatch scoring", "version": "1"},
        "paths": {"/score": {"post": score}, "/model": {"get": model}, **{path: _text(path) for path in _PAGES}},
        "components": {"schemas": components},
    }


_PAGES: Final = {
    "/metrics": "Figures for Prometheus.",
    "/livez": "Answers while the process runs.",
    "/readyz": "Answers once the model is loaded.",
}


def _said(what: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": what, "content": {_JSON: {"schema": schema}}}


def _text(path: str) -> dict[str, Any]:
    return {"get": {"summary": _PAGES[path], "responses": {"200": {"description": "text"}}}}
