"""The page on which admins manage accounts."""

from collections.abc import Callable
from functools import partial
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from dashboard.access.desk import Desk, Fields, session_of
from tapewatch.accounts import users
from tapewatch.accounts.errors import AccountError
from tapewatch.accounts.roles import ROLES

_PAGE: Final = "/access/users"


class People:
    """The handlers, for people with the permission `users`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._database = desk.door.database

    def routes(self) -> list[Route]:
        changes = {
            "add": self._add,
            "role": self._role,
            "lock": self._lock,
            "password": self._password,
            "totp": self._totp,
        }
        posts = [
            Route(f"{_PAGE}/{name}", self._desk.form(partial(self._change, change)), methods=["POST"])
            for name, change in changes.items()
        ]
        return [Route(_PAGE, self.page), *posts]

    async def page(self, request: Request) -> Response:
        refused = self._refusal(request)
        return await self._list(request) if refused is None else refused

    async def _change(self, change: Callable[[str, Fields], str | None], request: Request, fields: Fields) -> Response:
        refused = self._refusal(request)
        session = session_of(request)
        if refused is not None or session is None:
            return refused or RedirectResponse("/", 303)
        try:
            secret = await self._desk.hash(partial(change, session.user.name, fields))
        except AccountError as error:
            return await self._list(request, fault=str(error))
        if secret is None:
            return RedirectResponse(_PAGE, 303)
        return await self._list(request, secret=secret, secret_of=users.spelt(fields["name"]))

    def _refusal(self, request: Request) -> Response | None:
        session = session_of(request)
        if session is None or not self._desk.directory.is_admitted(session):
            return RedirectResponse(self._desk.directory.next_step(session), 303)
        if "users" in session.user.permissions:
            return None
        fault = f"Your role, {session.user.role}, may not manage accounts."
        return self._desk.pages.show(request, "message", 403, title="Not allowed", fault=fault)

    async def _list(self, request: Request, *, fault: str = "", secret: str = "", secret_of: str = "") -> Response:
        found = await self._desk.do(partial(users.list_users, self._database))
        values = {"users": found, "roles": tuple(ROLES), "secret": secret, "secret_of": secret_of}
        return self._desk.pages.show(request, "users", 400 if fault else 200, fault=fault, **values)

    def _add(self, actor: str, fields: Fields) -> str | None:
        return users.add_user(self._database, fields.get("name", ""), fields.get("role", ""), actor=actor)

    def _role(self, actor: str, fields: Fields) -> None:
        users.set_role(self._database, fields.get("name", ""), fields.get("role", ""), actor=actor)

    def _lock(self, actor: str, fields: Fields) -> None:
        users.set_locked(self._database, fields.get("name", ""), locked=fields.get("locked") == "yes", actor=actor)

    def _password(self, actor: str, fields: Fields) -> str | None:
        return users.reset_password(self._database, fields.get("name", ""), actor=actor)

    def _totp(self, actor: str, fields: Fields) -> None:
        users.remove_totp(self._database, fields.get("name", ""), actor=actor)
