"""The middleware in front of each web service: refuses requests of foreign pages, and asks for the token.

A page of any site can send requests to an address of this machine. A browser marks them: with the `Origin` of the page, with
`Sec-Fetch-Site`, and with a `Host` of the page's own if its name was pointed here (DNS rebinding). Programs send neither
mark. The guard checks the marks itself instead of trusting each application to do so.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import SplitResult, quote, urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tapewatch.web.access import Access, is_loopback
from tapewatch.web.login import COOKIE, LOGIN, answer_login

_READING: Final = frozenset({"GET", "HEAD"})
#: The types that a page may POST to another site without asking; an absent one counts as such.
_SIMPLE_TYPES: Final = frozenset({"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"})
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_POLICY_VIOLATION: Final = 1008
_ADDED: Final = (
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"x-content-type-options", b"nosniff"),
    # No page of another site may show what a service answers, not even as an image.
    (b"cross-origin-resource-policy", b"same-origin"),
)
#: The headers that say who sent a request.
_MARKS: Final = frozenset(
    {b"host", b"origin", b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest", b"content-type"}
)


class Guard:
    """ASGI middleware; checks HTTP requests and WebSocket handshakes.

    Args:
        access: the names to answer to, and the token.
        open_paths: pages that say whether the service works, answered without the token.
        closed: beginnings of paths that are not served at all.
        proves: whether the headers of a request prove in another way than by the token that it may be answered.
        forms: beginnings of paths of pages with forms, which check a token of their own.
        asks: False for an application with a login of its own: the guard only refuses foreign pages.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        access: Access,
        open_paths: Sequence[str] = (),
        closed: Sequence[str] = (),
        proves: Callable[[Headers], bool] = lambda _: False,
        forms: Sequence[str] = (),
        asks: bool = True,
    ) -> None:
        self._app = app
        self._access = access
        self._asks = asks
        self._forms = tuple(forms)
        self._open = frozenset(open_paths)
        self._closed = tuple(closed)
        self._proves = proves

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refused = self._refusal(scope) or (self._unknown(scope) if self._asks else None)
        if scope["type"] == "websocket":
            if refused is None:
                await self._app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
            return
        if self._asks and refused is None and scope["path"] == LOGIN and self._access.token:
            refused = await answer_login(scope, receive, self._access)
        answering = self._app if refused is None else refused
        await answering(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope) -> Response | None:
        """The answer to a request that no page of ours and no program sends; None to go on."""
        headers = Headers(raw=[pair for pair in scope["headers"] if pair[0] in _MARKS])
        host = _one(headers, "host")
        name = _split(f"//{host}").hostname or ""
        if name not in self._access.hosts and name != _arrival(scope):
            return _no(
                403, f"{host or 'no Host'} is not a name of this service: TAPEWATCH_ALLOWED_HOSTS lists further names"
            )
        if any(_server(origin) != _server(f"//{host}") for origin in headers.getlist("origin")):
            return _no(403, "a page of another site sent this request")
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not _is_followed_link(scope, headers):
            return _no(403, "a page of another site sent this request")
        if scope["path"].startswith(self._closed):
            return _no(404, "this part is not served")
        return _unsafe(scope, headers, self._forms) if scope["type"] == "http" else None

    def _unknown(self, scope: Scope) -> Response | None:
        """The answer to a client that does not prove that it knows the token; None to go on."""
        if not self._access.token:
            # As a last resort: `tapewatch up` does not start so.
            is_from_here = is_loopback(_arrival(scope) or "localhost")
            return None if is_from_here else _no(403, "only this machine is served: set TAPEWATCH_TOKEN")
        connection, is_http = HTTPConnection(scope), scope["type"] == "http"
        headers = connection.headers
        if (is_http and (scope["path"] in self._open or scope["path"] == LOGIN)) or self._knows_token(connection):
            return None
        if self._proves(headers):
            return None
        if is_http and scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
            return RedirectResponse(f"{LOGIN}?next={quote(_wanted(scope), safe='')}", 303)
        return _no(401, "send the header `Authorization: Bearer` with the value of TAPEWATCH_TOKEN")

    def _knows_token(self, connection: HTTPConnection) -> bool:
        kind, _, given = connection.headers.get("authorization", "").partition(" ")
        is_sent = kind.lower() == "bearer" and self._access.is_token(given.strip())
        return is_sent or self._access.is_session(connection.cookies.get(COOKIE, ""))


def _unsafe(scope: Scope, headers: Headers, forms: tuple[str, ...]) -> Response | None:
    if scope["method"] in _READING:
        # A link or an image can send it; Dagster would run a mutation.
        if scope["path"].rstrip("/").endswith("/graphql") and scope["query_string"]:
            return _no(405, "send GraphQL by POST as application/json")
        return None
    kind = _one(headers, "content-type").partition(";")[0].strip().lower()
    if (
        scope["method"] == "POST"
        and kind in _SIMPLE_TYPES
        and scope["path"] != LOGIN
        and not scope["path"].startswith(forms)
    ):
        return _no(415, f"content type {kind or 'none'}: send application/json")
    return None


def _is_followed_link(scope: Scope, headers: Headers) -> bool:
    """Whether a person came from another site: the page is shown as a whole, and not within that site's."""
    is_reading = scope["type"] == "http" and scope["method"] in _READING
    return is_reading and headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"


def _one(headers: Headers, name: str) -> str:
    """The value of a header; empty if it is absent or there are several."""
    values = headers.getlist(name)
    return values[0] if len(values) == 1 else ""


def _arrival(scope: Scope) -> str | None:
    """The address of this machine at which the connection arrived; None for a Unix socket."""
    server = scope.get("server")
    if not server or server[1] is None:
        return None
    # A socket for both families writes IPv4 addresses so.
    return str(server[0]).removeprefix("::ffff:")


def _wanted(scope: Scope) -> str:
    """Path and query, as they were sent."""
    path, query = scope.get("raw_path") or quote(scope["path"]).encode(), scope["query_string"]
    return (path + (b"?" + query if query else b"")).decode("latin-1")


@lru_cache(maxsize=256)
def _split(address: str) -> SplitResult:
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:
        return urlsplit("")
    return parts


def _server(address: str) -> tuple[str, int | None]:
    """Host and port, where the default ports of http and https are None: a proxy in front may speak https."""
    parts = _split(address)
    defaults = (_DEFAULT_PORTS[parts.scheme],) if parts.scheme in _DEFAULT_PORTS else tuple(_DEFAULT_PORTS.values())
    return parts.hostname or "", None if parts.port in defaults else parts.port


def _no(status: int, why: str) -> Response:
    # Problem details (RFC 9457); `error` is the same for programs that read it alone.
    body = {"type": "urn:tapewatch:error:guard", "title": "The request is refused", "status": status, "detail": why}
    return JSONResponse({**body, "error": why}, status, media_type="application/problem+json")


def _with_headers(send: Send) -> Send:
    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            raw = message.get("headers", ())
            present = {name for name, _ in raw}
            message["headers"] = [*raw, *(pair for pair in _ADDED if pair[0] not in present)]
        await send(message)

    return wrapped
