"""The middleware in front of Streamlit: no request without a login, except to the pages that lead to one.

It takes the secret out of each request, so that no script has it, and ends what lasts (a WebSocket, a stream of events) as soon
as the session ends.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Final
from urllib.parse import quote

import anyio
from anyio.to_thread import run_sync
from google.protobuf.message import DecodeError
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit.proto.BackMsg_pb2 import BackMsg

from dashboard import identity
from dashboard.access import cookies, headers
from dashboard.access.directory import Directory
from dashboard.access.document import Document
from dashboard.access.pages import FILES
from dashboard.identity import Identity
from tapewatch.accounts.sessions import Session
from tapewatch.store.database.database import DatabaseError

ACCESS: Final = "/access/"
LOGIN: Final = "/access/login"
HEALTH: Final = "/_stcore/health"
#: Answered without a login: they lead to one.
OPEN: Final = frozenset(
    {LOGIN, HEALTH, "/access/oidc", "/access/oidc/callback", *(f"{ACCESS}{name}" for name in FILES)}
)
#: Streamlit's own login, its API for programs and its figures: not served.
_CLOSED: Final = ("/auth/", "/oauth2callback", "/_stcore/agent", "/_stcore/metrics", "/_stcore/script-health-check")
#: Streamlit serves its first page at `/` alone, and says of the name that its menu shows that there is no such page.
_FIRST_PAGE: Final = "/watch"
#: Paths of Streamlit that are no page.
_FILES: Final = ("/_stcore/", "/static/", "/media/", "/component/", "/app/", "/access/")
_POLL_S: Final = 1.0
_SESSION_ENDED: Final = 4401
_POLICY_VIOLATION: Final = 1008
_TRY_AGAIN_LATER: Final = 1013
_OWN_HEADERS: Final = b"x-tapewatch-"
_log = logging.getLogger(__name__)


class _SessionEndedError(OSError):
    """Ends a stream, which takes it as the client's going away."""


class Gate:
    """ASGI middleware; checks HTTP requests and WebSocket handshakes.

    Args:
        directory: sessions and tokens.
        routes: routes that programs may read with a token in place of a session.
    """

    def __init__(self, app: ASGIApp, *, directory: Directory, routes: Sequence[BaseRoute] = ()) -> None:
        self._app = app
        self._directory = directory
        self._routes = tuple(routes)
        self._document = Document.of_streamlit()
        self._policy = headers.dashboard_policy(self._document.script_hashes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        try:
            session = await run_sync(self._directory.session, cookies.session_secret(connection))
        except DatabaseError as error:
            _log.error("the accounts cannot be read: %s", error)
            await _unavailable(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send, session)
            return
        send = self._with_headers(send, scope)
        if scope["path"].startswith(_CLOSED):
            await JSONResponse({"error": "this part is not served"}, 404)(scope, receive, send)
        elif scope["path"] in OPEN or (session is not None and scope["path"].startswith(ACCESS)):
            scope["tapewatch.session"] = session
            await self._app(scope, receive, send)
        else:
            await self._guarded(connection, receive, send, session)

    async def _guarded(self, connection: HTTPConnection, receive: Receive, send: Send, session: Session | None) -> None:
        scope, program = connection.scope, None
        found = self._person(session)
        if found is None:
            found = program = await self._program(connection)
        if found is None or not found.may("dashboard"):
            await self._turned_away(connection, found, session)(scope, receive, send)
        elif program is not None or session is None:
            await self._app(_for_scripts(scope, None, found), receive, send)
        elif _is_page(connection, self._routes):
            await run_sync(self._directory.touch, session)
            await self._page(connection)(scope, receive, send)
        else:
            with suppress(ClientDisconnect, _SessionEndedError):
                await self._app(_for_scripts(scope, session, found), receive, self._while_open(send, session))

    def _page(self, connection: HTTPConnection) -> Response:
        if connection.url.path == _FIRST_PAGE:
            return RedirectResponse(f"/?{connection.url.query}")
        return HTMLResponse(self._document.html, headers={"cache-control": "no-store"})

    async def _websocket(self, scope: Scope, receive: Receive, send: Send, session: Session | None) -> None:
        found = self._person(session)
        if session is None or found is None or not found.may("dashboard"):
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
            return
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._close_at_end, session, send, tasks.cancel_scope)
            await self._app(_for_scripts(scope, session, found), self._noting(receive, session), send)
            tasks.cancel_scope.cancel()

    def _person(self, session: Session | None) -> Identity | None:
        if session is None or not self._directory.is_admitted(session):
            return None
        return Identity(session.user.name, session.user.role, session.user.permissions)

    def _turned_away(self, connection: HTTPConnection, found: Identity | None, session: Session | None) -> Response:
        if found is not None:
            return JSONResponse({"error": f"the role {found.role} may not see the dashboard"}, 403)
        if connection.scope["method"] != "GET" or "text/html" not in connection.headers.get("accept", ""):
            return JSONResponse({"error": "log in, or send a token: docs/how_to/dashboard_access.md"}, 401)
        path, query = connection.url.path, connection.url.query
        wanted = f"{path}?{query}" if query else path
        step = self._directory.next_step(session)
        return RedirectResponse(step if wanted == "/" else f"{step}?next={quote(wanted, safe='')}", 303)

    async def _program(self, connection: HTTPConnection) -> Identity | None:
        """Whom the token of a program stands for, on a route that programs may read."""
        kind, _, token = connection.headers.get("authorization", "").partition(" ")
        is_reading = connection.scope["method"] in ("GET", "HEAD")
        if kind.lower() != "bearer" or not is_reading or not _is_among(connection.scope, self._routes):
            return None
        return await run_sync(self._directory.program, token.strip())

    async def _is_open(self, session: Session) -> bool:
        try:
            return await run_sync(self._directory.identity, session.session_id) is not None
        except DatabaseError:
            return False

    async def _close_at_end(self, session: Session, send: Send, scope: anyio.CancelScope) -> None:
        while await self._is_open(session):
            await anyio.sleep(_POLL_S)
        with suppress(RuntimeError):  # the client has gone meanwhile
            await send({"type": "websocket.close", "code": _SESSION_ENDED, "reason": "the session has ended"})
        scope.cancel()

    def _noting(self, receive: Receive, session: Session) -> Receive:
        """Note what the person does; a page that refreshes itself does not keep a session open."""

        async def noted() -> Message:
            message = await receive()
            if message["type"] == "websocket.receive" and _is_activity(message.get("bytes") or b""):
                with suppress(DatabaseError):
                    await run_sync(self._directory.note_activity, session.session_id)
            return message

        return noted

    def _while_open(self, send: Send, session: Session) -> Send:
        """Send a stream of events only as long as the session is open."""
        is_stream = False

        async def checked(message: Message) -> None:
            nonlocal is_stream
            if message["type"] == "http.response.start":
                is_stream = MutableHeaders(scope=message).get("content-type", "").startswith("text/event-stream")
            elif is_stream and message.get("more_body") and not await self._is_open(session):
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                raise _SessionEndedError
            await send(message)

        return checked

    def _with_headers(self, send: Send, scope: Scope) -> Send:
        policy = headers.LOGIN_POLICY if scope["path"].startswith(ACCESS) else self._policy

        async def wrapped(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers.secure(MutableHeaders(scope=message), policy, is_https=scope["scheme"] == "https")
            await send(message)

        return wrapped


async def _unavailable(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": _TRY_AGAIN_LATER})
    else:
        await JSONResponse({"error": "the database cannot be reached"}, 503)(scope, receive, send)


def _for_scripts(scope: Scope, session: Session | None, found: Identity) -> Scope:
    """The request as the application gets it: without the secrets, with the name of the session and the identity."""
    kept = []
    for name, value in scope["headers"]:
        if name == b"cookie":
            value = cookies.without_ours(value.decode("latin-1")).encode("latin-1")  # noqa: PLW2901
        if name != b"authorization" and not name.startswith(_OWN_HEADERS) and (name != b"cookie" or value):
            kept.append((name, value))
    if session is not None:
        kept.append((identity.SESSION_HEADER.encode(), session.session_id.encode()))
    return {**scope, "headers": kept, identity.SCOPE: found}


def _is_page(connection: HTTPConnection, routes: Sequence[BaseRoute]) -> bool:
    """Whether a browser asks for a page of Streamlit, not for a file or a route."""
    scope = connection.scope
    is_document = scope["method"] == "GET" and "text/html" in connection.headers.get("accept", "")
    return is_document and not scope["path"].startswith(_FILES) and not _is_among(scope, routes)


def _is_among(scope: Scope, routes: Sequence[BaseRoute]) -> bool:
    return any(route.matches(scope)[0] is Match.FULL for route in routes)


def _is_activity(data: bytes) -> bool:
    message = BackMsg()
    try:
        message.ParseFromString(data)
    except DecodeError:
        return False
    return not (message.WhichOneof("type") == "rerun_script" and message.rerun_script.is_auto_rerun)
