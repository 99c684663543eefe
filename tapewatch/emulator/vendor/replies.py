"""The vendor's replies: the envelope, request ids, and each refusal with its status and body."""

import secrets
from typing import Any

import msgspec
from starlette.responses import Response

JSON = "application/json"


class Refusal(Exception):  # noqa: N818 - a reply, not an error of the server
    """A reply with a status other than 200. `body` is the vendor's, without the request id."""

    def __init__(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        super().__init__(str(body))
        self.status = status
        self.body = body
        self.headers = headers or {}

    def response(self) -> Response:
        return reply(self.body | {"request_id": request_id()}, self.status, self.headers)


def missing_key() -> Refusal:
    return Refusal(401, {"status": "ERROR", "error": "API Key was not provided"})


def unknown_key() -> Refusal:
    return Refusal(401, {"status": "ERROR", "error": "Unknown API Key"})


def not_in_plan() -> Refusal:
    """The plan does not include the kind of data."""
    return _not_authorized("You are not entitled to this data.")


def not_in_timeframe() -> Refusal:
    """The plan does not include the requested time."""
    return _not_authorized("Your plan doesn't include this data timeframe.")


def too_many_requests(retry_after_s: int) -> Refusal:
    """The plan's calls for this minute are used up."""
    message = (
        "You've exceeded the maximum requests per minute, please wait or upgrade your subscription to continue. "
        "https://polygon.io/pricing"
    )
    return Refusal(429, {"status": "ERROR", "error": message}, {"Retry-After": str(retry_after_s)})


def bad_request(message: str) -> Refusal:
    """A parameter is invalid; the message names it and its value."""
    return Refusal(400, {"status": "ERROR", "error": message})


def not_found(message: str = "Not found.") -> Refusal:
    return Refusal(404, {"status": "NOT_FOUND", "message": message})


def request_id() -> str:
    return secrets.token_hex(16)


def reply(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(body), status, headers, JSON)


def reply_results(results: Any, **more: Any) -> Response:
    """`results` in the vendor's envelope, with `more` fields beside them."""
    return reply({"results": results, "status": "OK", "request_id": request_id(), **more})


def reply_rows(rows: str, **envelope: Any) -> Response:
    """`results` (rows that are JSON already) in the vendor's envelope."""
    rest = msgspec.json.encode(envelope)[1:]
    return Response(b'{"results":[' + rows.encode() + b"]," + rest, media_type=JSON)


def _not_authorized(what: str) -> Refusal:
    message = f"{what} Please upgrade your plan at https://polygon.io/pricing"
    return Refusal(403, {"status": "NOT_AUTHORIZED", "message": message})
