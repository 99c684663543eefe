"""Refusals as problem details (RFC 9457): what is wrong, in which field, and the way out."""

import re
from typing import Final

import msgspec
from starlette.responses import Response

MEDIA_TYPE: Final = "application/problem+json"
_TITLES: Final = {
    400: "The request cannot be read",
    401: "A key is needed",
    403: "The key does not allow this",
    404: "There is no such thing",
    405: "The method is not allowed",
    408: "The request took too long",
    413: "The request is too large",
    415: "The content type is not accepted",
    422: "The request cannot be answered",
    429: "Too many requests",
    500: "The service failed",
    503: "The service is not ready for this",
}
_FIELD: Final = re.compile(r" - at `(?:key in )?\$\.?(.*?)`")
#: Faults of the object around a field, which the path does not name.
_ABSENT_OR_UNKNOWN: Final = re.compile(r"Object (missing required|contains unknown) field `(.*?)`")


class ProblemDetails(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of a refusal. `field` is the path of the value at fault, `error` repeats `detail`."""

    type: str
    title: str
    status: int
    detail: str
    error: str
    request_id: str = ""
    field: str = ""
    way_out: str = ""


class Problem(Exception):  # noqa: N818 - the name that RFC 9457 gives it
    """A request that is refused; `kind` completes the type `urn:tapewatch:error:…`."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        field: str = "",
        way_out: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail, self.field, self.way_out = status, kind, detail, field, way_out
        self.headers = headers or {}

    def response(self, request_id: str) -> Response:
        """The answer."""
        body = ProblemDetails(
            f"urn:tapewatch:error:{self.kind}",
            _TITLES.get(self.status, "The request is refused"),
            self.status,
            self.detail,
            self.detail,
            request_id,
            self.field,
            self.way_out,
        )
        return Response(msgspec.json.encode(body), self.status, self.headers, MEDIA_TYPE)


def invalid(reason: str) -> Problem:
    """A body that does not fit its schema; the field is taken from the reason."""
    path, named = _FIELD.search(reason), _ABSENT_OR_UNKNOWN.search(reason)
    parts = [found for found in (path[1] if path else "", named[2] if named else "") if found]
    way_out = "/openapi.json gives the schema and an example, /docs shows both"
    if named:
        way_out = f"{'give it' if named[1].startswith('missing') else 'leave it out, or correct its name'}; {way_out}"
    return Problem(422, "invalid", reason, field=".".join(parts), way_out=way_out)
