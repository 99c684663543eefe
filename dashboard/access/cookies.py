"""The cookies of the login, and the tokens of its forms."""

import secrets
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import HTTPConnection
from starlette.responses import Response

from tapewatch.accounts.records import digest
from tapewatch.accounts.sealing import Seal

_NAME: Final = "tapewatch_dashboard"
_FORM: Final = "tapewatch_form"
_FORM_S: Final = 3600


def is_https(connection: HTTPConnection) -> bool:
    """Whether the client speaks TLS with us, or with a proxy on this machine that says so."""
    return connection.scope["scheme"] in ("https", "wss")


def _named(name: str, connection: HTTPConnection) -> str:
    # With this prefix a browser accepts the cookie over HTTPS from this host alone: no other name of the domain can set it.
    return f"__Host-{name}" if is_https(connection) else name


def session_secret(connection: HTTPConnection) -> str:
    """The secret in the session's cookie; empty without one."""
    return connection.cookies.get(_named(_NAME, connection), "")


def set_session(response: Response, connection: HTTPConnection, secret: str) -> None:
    """Give the browser a session. It lasts until the browser is closed, or the server ends it."""
    _set(response, connection, _named(_NAME, connection), secret, same_site="lax")


def clear_session(response: Response, connection: HTTPConnection) -> None:
    """Take the session from the browser, and what it keeps of our pages."""
    response.delete_cookie(
        _named(_NAME, connection), path="/", secure=is_https(connection), httponly=True, samesite="lax"
    )
    response.headers["clear-site-data"] = '"cache", "storage"'


def without_ours(cookie_header: str) -> str:
    """A Cookie header without the secrets of the login, for the script behind it."""
    kept = [part for part in cookie_header.split(";") if not _is_ours(part.partition("=")[0].strip())]
    return ";".join(kept).strip()


def _is_ours(name: str) -> bool:
    return name.removeprefix("__Host-") in (_NAME, _FORM)


@dataclass(frozen=True)
class Forms:
    """Tokens of forms: signed, for one browser (by a cookie of its own) and one session, for an hour."""

    seal: Seal

    def token(self, connection: HTTPConnection) -> tuple[str, str]:
        """The browser's value and the token for a form. `keep` hands the value to the browser."""
        value = connection.cookies.get(_named(_FORM, connection), "") or secrets.token_urlsafe(16)
        return value, self.seal.sign(self._bound(value, connection), "form")

    def keep(self, response: Response, connection: HTTPConnection, value: str) -> None:
        _set(response, connection, _named(_FORM, connection), value, same_site="strict")

    def is_ours(self, connection: HTTPConnection, token: str) -> bool:
        """Whether a form was made for this browser and session."""
        value = connection.cookies.get(_named(_FORM, connection), "")
        if not value:
            return False
        said: Any = self.seal.signed(token, "form", within_s=_FORM_S)
        return isinstance(said, str) and secrets.compare_digest(said, self._bound(value, connection))

    def _bound(self, value: str, connection: HTTPConnection) -> str:
        return digest(f"{value}:{session_secret(connection)}")


def _set(response: Response, connection: HTTPConnection, name: str, value: str, *, same_site: Any) -> None:
    response.set_cookie(name, value, path="/", httponly=True, secure=is_https(connection), samesite=same_site)
