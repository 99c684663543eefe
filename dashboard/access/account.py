"""The pages on which people manage their account: second factor, sessions, tokens."""

from functools import partial
from typing import Final

import segno
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from dashboard.access.desk import Desk, Fields, client_of, session_of
from tapewatch.accounts import sessions, tokens, totp
from tapewatch.accounts.errors import AccountError
from tapewatch.accounts.sessions import Session
from tapewatch.accounts.users import remove_totp

_PAGE: Final = "/access/account"
#: How long a secret waits for the code that confirms it.
_ENROL_S: Final = 900
_SCALE: Final = 5


class Account:
    """The handlers. The gate lets only people with a session come here; one that awaits a code is sent back."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._database = desk.door.database
        self._seal = desk.door.seal

    def routes(self) -> list[Route]:
        post = self._desk.form
        return [
            Route(_PAGE, self.page),
            Route("/access/totp", self.totp_page),
            Route("/access/totp", post(self.enrol), methods=["POST"]),
            Route("/access/totp/off", post(self.totp_off), methods=["POST"]),
            Route("/access/sessions/end", post(self.end), methods=["POST"]),
            Route("/access/tokens", post(self.make_token), methods=["POST"]),
            Route("/access/tokens/revoke", post(self.revoke), methods=["POST"]),
        ]

    async def page(self, request: Request) -> Response:
        session = self._admitted(request)
        return self._first(request) if session is None else await self._account(request, session)

    async def totp_page(self, request: Request) -> Response:
        session = session_of(request)
        if session is None or not session.is_complete or session.user.is_temporary:
            return self._first(request)
        if session.user.has_totp:
            return RedirectResponse(_PAGE, 303)
        return self._enrolment(request, session, totp.new_secret())

    async def enrol(self, request: Request, fields: Fields) -> Response:
        session = session_of(request)
        if session is None or not session.is_complete or session.user.is_temporary or session.user.has_totp:
            return self._first(request)
        name = session.user.name
        try:
            owner, _, secret = self._seal.open(fields.get("sealed", ""), within_s=_ENROL_S).partition(":")
        except AccountError:
            owner, secret = "", ""
        if owner != name:
            return self._enrolment(request, session, totp.new_secret(), "This took too long: scan the new picture.")
        work = partial(totp.enrol, self._database, self._seal, name, secret, fields.get("code", ""), actor=name)
        try:
            codes = await self._desk.do(work)
        except AccountError as error:
            return self._enrolment(request, session, secret, str(error))
        return self._desk.pages.show(request, "codes", codes=codes)

    async def totp_off(self, request: Request, fields: Fields) -> Response:
        session = self._admitted(request)
        if session is None:
            return self._first(request)
        password = fields.get("password", "")
        try:
            await self._desk.hash(partial(self._desk.door.expect_password, session, password, client_of(request)))
        except AccountError as error:
            return await self._account(request, session, fault=str(error))
        await self._desk.do(partial(remove_totp, self._database, session.user.name, actor=session.user.name))
        return RedirectResponse(_PAGE, 303)

    async def end(self, request: Request, fields: Fields) -> Response:
        session = self._admitted(request)
        if session is None:
            return self._first(request)
        name, wanted = session.user.name, fields.get("id", "")
        await self._desk.do(partial(sessions.end_session, self._database, wanted, owner=name))
        return RedirectResponse(_PAGE, 303)

    async def make_token(self, request: Request, fields: Fields) -> Response:
        session = self._admitted(request)
        if session is None:
            return self._first(request)
        days = fields.get("days", "")
        lasts = int(days) if days.isascii() and days.isdigit() and len(days) < 5 else 0
        work = partial(tokens.make_token, self._database, session.user, fields.get("title", ""), lasts)
        try:
            secret = await self._desk.do(work)
        except AccountError as error:
            return await self._account(request, session, fault=str(error))
        return self._desk.pages.show(request, "token", secret=secret)

    async def revoke(self, request: Request, fields: Fields) -> Response:
        session = self._admitted(request)
        if session is None:
            return self._first(request)
        await self._desk.do(partial(tokens.revoke_token, self._database, session.user, fields.get("id", "")))
        return RedirectResponse(_PAGE, 303)

    def _admitted(self, request: Request) -> Session | None:
        session = session_of(request)
        return session if session is not None and self._desk.directory.is_admitted(session) else None

    def _first(self, request: Request) -> Response:
        """Where a session that does not open the dashboard yet has to go."""
        return RedirectResponse(self._desk.directory.next_step(session_of(request)), 303)

    def _enrolment(self, request: Request, session: Session, secret: str, fault: str = "") -> Response:
        picture = segno.make(totp.address_of(secret, session.user.name), micro=False).svg_data_uri(scale=_SCALE)
        values = {"secret": secret, "picture": picture, "sealed": self._seal.close(f"{session.user.name}:{secret}")}
        is_required = not self._desk.directory.is_admitted(session)
        status = 400 if fault else 200
        return self._desk.pages.show(request, "totp", status, fault=fault, is_required=is_required, **values)

    async def _account(self, request: Request, session: Session, *, fault: str = "") -> Response:
        user = session.user
        values = {
            "user": user,
            "sessions": await self._desk.do(
                partial(sessions.sessions_of, self._database, user, self._desk.door.lifetime)
            ),
            "tokens": await self._desk.do(partial(tokens.tokens_of, self._database, user)),
            "codes_left": await self._desk.do(partial(totp.recovery_codes_left, self._database, user.name)),
            "present": session.session_id,
        }
        return self._desk.pages.show(request, "account", 400 if fault else 200, fault=fault, **values)
