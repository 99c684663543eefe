"""Logging in and out: password, code, new password."""

from functools import partial
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from dashboard.access import cookies
from dashboard.access.desk import Desk, Fields, client_of, session_of
from dashboard.access.forms import local
from tapewatch.accounts.errors import AccountError, RefusedError, WaitError
from tapewatch.accounts.passwords import SHORTEST
from tapewatch.accounts.sessions import Session, end_session


class Entrance:
    """The handlers. `provider` names the provider of identities; empty without one."""

    def __init__(self, desk: Desk, provider: str = "") -> None:
        self._desk = desk
        self._provider = provider

    def routes(self) -> list[Route]:
        post = self._desk.form
        return [
            Route("/access/login", self.login_page),
            Route("/access/login", post(self.log_in), methods=["POST"]),
            Route("/access/code", self.code_page),
            Route("/access/code", post(self.confirm), methods=["POST"]),
            Route("/access/password", self.password_page),
            Route("/access/password", post(self.renew), methods=["POST"]),
            Route("/access/logout", post(self.log_out), methods=["POST"]),
            Route("/access/session", self.state),
        ]

    async def login_page(self, request: Request) -> Response:
        wanted = local(request.query_params.get("next", "/"))
        session = session_of(request)
        if session is not None and self._desk.directory.is_admitted(session):
            return RedirectResponse(wanted, 303)
        return self._login(request, wanted)

    async def log_in(self, request: Request, fields: Fields) -> Response:
        wanted, name = local(fields.get("next", "/")), fields.get("name", "")
        work = partial(self._desk.door.log_in, name, fields.get("password", ""), client_of(request))
        try:
            secret, is_complete = await self._desk.hash(work)
        except RefusedError as error:
            return _waiting(self._login(request, wanted, _status(error), name=name[:100], fault=str(error)), error)
        previous = session_of(request)
        if previous is not None:
            await self._desk.do(partial(end_session, self._desk.door.database, previous.session_id))
        return self._desk.enter(
            request, secret, wanted if is_complete else f"/access/code?next={quote(wanted, safe='')}"
        )

    async def code_page(self, request: Request) -> Response:
        session = session_of(request)
        if session is None or session.is_complete:
            return RedirectResponse("/", 303)
        return self._desk.pages.show(request, "code", wanted=local(request.query_params.get("next", "/")))

    async def confirm(self, request: Request, fields: Fields) -> Response:
        session, wanted = session_of(request), local(fields.get("next", "/"))
        if session is None or session.is_complete:
            return RedirectResponse("/access/login", 303)
        work = partial(self._desk.door.confirm, session, fields.get("code", ""), client_of(request))
        try:
            secret = await self._desk.do(work)
        except AccountError as error:
            page = self._desk.pages.show(request, "code", _status(error), wanted=wanted, fault=str(error))
            return _waiting(page, error)
        return self._desk.enter(request, secret, wanted)

    async def password_page(self, request: Request) -> Response:
        session = session_of(request)
        if session is None or not session.is_complete:
            return RedirectResponse("/access/login", 303)
        return self._password(request, session)

    async def renew(self, request: Request, fields: Fields) -> Response:
        session, wanted = session_of(request), fields.get("wanted", "")
        if session is None or not session.is_complete:
            return RedirectResponse("/access/login", 303)
        if wanted != fields.get("again", ""):
            return self._password(request, session, 400, "The two new passwords differ.")
        work = partial(self._desk.door.renew_password, session, fields.get("current", ""), wanted, client_of(request))
        try:
            secret = await self._desk.hash(work)
        except AccountError as error:
            return self._password(request, session, _status(error), str(error))
        return self._desk.enter(request, secret, "/")

    async def log_out(self, request: Request, _: Fields) -> Response:
        session = session_of(request)
        if session is not None:
            await self._desk.do(partial(self._desk.door.leave, session, client_of(request)))
        response = RedirectResponse("/access/login", 303)
        cookies.clear_session(response, request)
        return response

    async def state(self, request: Request) -> Response:
        """Whether the session still opens the dashboard: our script calls it now and then. It is no activity."""
        session = session_of(request)
        is_open = session is not None and self._desk.directory.is_admitted(session)
        return JSONResponse({"open": is_open}, 200 if is_open else 401, {"cache-control": "no-store"})

    def _login(self, request: Request, wanted: str, status: int = 200, *, name: str = "", fault: str = "") -> Response:
        values = {"wanted": wanted, "name": name, "fault": fault, "provider": self._provider}
        return self._desk.pages.show(request, "login", status, **values)

    def _password(self, request: Request, session: Session, status: int = 200, fault: str = "") -> Response:
        return self._desk.pages.show(request, "password", status, user=session.user, shortest=SHORTEST, fault=fault)


def _status(error: AccountError) -> int:
    if isinstance(error, WaitError):
        return 429
    return 401 if isinstance(error, RefusedError) else 400


def _waiting(response: Response, error: AccountError) -> Response:
    """The answer, with the time after which another attempt is worth making."""
    if isinstance(error, WaitError):
        response.headers["retry-after"] = str(error.seconds)
    return response
