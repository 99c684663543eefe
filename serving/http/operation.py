"""An operation as an endpoint: admission, limits on size and time, problem details, headers, metrics and the log."""

import asyncio
import os
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from serving.http.gate import ANY, UNKNOWN, Caller
from serving.http.problems import Problem, invalid
from serving.http.tracing import RequestSpan
from serving.metrics import REQUESTS, SECONDS
from serving.schemas import RequestError
from tapewatch.store.database.engine import DatabaseError
from tapewatch.store.vectors.vectors import VectorsError

if TYPE_CHECKING:
    from serving.deployment import Deployment

MAX_BODY_BYTES: Final = 4 * 1024 * 1024
#: Requests at a time, without those whose body is still coming; further ones are refused at once.
MAX_REQUESTS: Final = 256
#: Of all bodies that come in parts.
MAX_ARRIVING_BYTES: Final = 64 * 1024 * 1024
#: A request that is not read and answered by then is given up: a slow client holds no place for ever.
PATIENCE_S: Final = 30.0
REQUEST_ID: Final = "x-request-id"
_RAW_REQUEST_ID: Final = REQUEST_ID.encode()
#: As the response keeps them: setting them one by one would cost as much as a score.
_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
#: The label of paths that do not exist, which anybody may make up.
_OTHER: Final = "other"
_encode = msgspec.json.Encoder().encode
_UNTRACED: Final = nullcontext()


@dataclass(slots=True)
class Call:
    """One request under way. `rows` is how many it asks about, for the log."""

    request: Request
    deployment: "Deployment"
    headers: Mapping[str, str]
    request_id: str
    caller: Caller = UNKNOWN
    rows: int = 0
    span: RequestSpan | None = None
    note: dict[str, object] = field(default_factory=dict)

    def step(self, name: str, **attributes: str | int) -> AbstractContextManager[None]:
        """A span for a part of the work, where requests are traced."""
        return self.span.step(name, **attributes) if self.span else _UNTRACED

    async def body(self) -> bytes:
        """The whole body. While it comes the request takes no place from others.

        Raises:
            Problem: it is larger than MAX_BODY_BYTES, or too much is arriving.
        """
        self.deployment.under_way -= 1
        try:
            content, is_more = await self._chunk()
            return content if not is_more and len(content) <= MAX_BODY_BYTES else await self._rest(content, is_more)
        finally:
            self.deployment.under_way += 1

    async def _rest(self, first: bytes, is_more: bool) -> bytes:
        deployment, content = self.deployment, bytearray(first)
        deployment.arriving += len(content)
        try:
            while is_more and len(content) <= MAX_BODY_BYTES:
                if deployment.arriving > MAX_ARRIVING_BYTES:
                    raise _busy(f"{MAX_ARRIVING_BYTES:,} bytes of requests are arriving")
                chunk, is_more = await self._chunk()
                content += chunk
                deployment.arriving += len(chunk)
        finally:
            deployment.arriving -= len(content)
        if len(content) > MAX_BODY_BYTES:
            raise Problem(
                413,
                "size",
                f"the request is larger than {MAX_BODY_BYTES:,} bytes",
                way_out="send fewer rows a request, or Arrow in place of JSON",
            )
        return bytes(content)

    async def _chunk(self) -> tuple[bytes, bool]:
        """The next part of the body, and whether more follow."""
        message = await self.request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        return message.get("body", b""), message.get("more_body", False)

    def flag(self, name: str) -> bool:
        """Whether the query sets `name` to true."""
        if not self.request.scope["query_string"]:
            return False
        given = self.request.query_params.get(name, "false").lower()
        if given not in ("true", "false", "1", "0", ""):
            raise Problem(422, "invalid", f"{name} is {given!r}: give true or false", field=name)
        return given in ("true", "1")


Work = Callable[[Call], Awaitable[Response]]


def operation(scope: str = ANY, *, is_open: bool = False) -> Callable[[Work], Callable[[Request], Awaitable[Response]]]:
    """Make an endpoint of `work`, which needs `scope`; one that `is_open` needs no key."""

    def decorate(work: Work) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            begun = time.perf_counter()
            deployment: Deployment = request.app.state.deployment
            headers = _headers_of(request)
            call = Call(request, deployment, headers, request_id_of(headers))
            if deployment.tracer is not None:
                call.span = deployment.tracer.begin(request, call.request_id)
                call.note["trace_id"] = call.span.trace_id
            try:
                _expect_room(deployment)
                deployment.under_way += 1
                try:
                    if not is_open:
                        call.caller = deployment.gate.admit(headers, scope)
                    async with asyncio.timeout(PATIENCE_S):
                        response = await work(call)
                finally:
                    deployment.under_way -= 1
            except Exception as error:  # noqa: BLE001 - each becomes an answer
                response = _problem_of(error, call).response(call.request_id)
            _finish(call, response, time.perf_counter() - begun)
            return response

        endpoint.__name__ = getattr(work, "__name__", "endpoint")
        return endpoint

    return decorate


class _Json(Response):
    """JSON that is encoded already. Starlette's own takes longer to make its two headers than a row takes to score."""

    def __init__(self, content: bytes, status: int) -> None:
        self.body, self.status_code, self.background = content, status, None
        self.raw_headers = [(b"content-length", b"%d" % len(content)), (b"content-type", b"application/json")]


def respond(body: object, status: int = 200) -> Response:
    """A JSON answer."""
    return _Json(_encode(body), status)


def request_id_of(headers: Mapping[str, str]) -> str:
    """The client's id of the request, if it is a plain one; else a new one."""
    given = headers.get(REQUEST_ID)
    return given if given and _ID.fullmatch(given) else os.urandom(16).hex()


def _headers_of(request: Request) -> dict[str, str]:
    """The headers by name in lower case; of several of one name the first."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(request.scope["headers"])}


@cache
def _figures(label: str, status: int) -> tuple[Any, Any]:
    """Counter and histogram; labels are the paths that exist, and one for all others."""
    return REQUESTS.labels(label, status), SECONDS.labels(label)


def _expect_room(deployment: "Deployment") -> None:
    if deployment.under_way >= MAX_REQUESTS:
        raise _busy(f"{MAX_REQUESTS} requests are being answered")


def _busy(why: str) -> Problem:
    way_out = "try again in a second, or send more rows a request"
    return Problem(503, "busy", why, way_out=way_out, headers={"Retry-After": "1"})


def _problem_of(error: Exception, call: Call) -> Problem:
    match error:
        case Problem():
            return error
        case RequestError():
            return invalid(str(error))
        case TimeoutError():
            return Problem(408, "time", f"the request took over {PATIENCE_S:g} s", way_out="send fewer rows a request")
        case ClientDisconnect():
            return Problem(400, "gone", "the client closed the connection")
        case DatabaseError() | VectorsError():
            call.deployment.log.write("error", request_id=call.request_id, reason=str(error))
            return Problem(
                503,
                "store",
                "a store that this operation reads cannot be used",
                way_out="try again later; the service's log names the cause under this request id",
                headers={"Retry-After": "5"},
            )
    call.deployment.log.failure(call.request_id, error)
    return Problem(500, "defect", "the service failed", way_out="report the request id; the log has the traceback")


def _finish(call: Call, response: Response, seconds: float) -> None:
    """Headers, metrics and the log of an answer."""
    raw = response.raw_headers
    if isinstance(response, _Json):
        raw += _HEADERS
    else:
        present = {name for name, _ in raw}
        raw.extend(pair for pair in _HEADERS if pair[0] not in present)
    raw.append((_RAW_REQUEST_ID, call.request_id.encode()))
    path = call.request.scope["path"]
    label = _OTHER if response.status_code == 404 and path != "/feedback" else path
    count, duration = _figures(label, response.status_code)
    count.inc()
    duration.observe(seconds)
    if call.span is not None:
        call.span.end(label, response.status_code, call.rows)
    if not call.deployment.log.wants(response.status_code, path):
        return
    call.deployment.log.request(
        {
            "request_id": call.request_id,
            "caller": call.caller.name,
            "key": call.caller.key_id,
            "method": call.request.method,
            "path": path[:200],
            "status": response.status_code,
            "rows": call.rows,
            "ms": round(seconds * 1e3, 3),
            **call.note,
        }
    )
