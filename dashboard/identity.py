"""Who uses a page: what the middleware established at the login. Scripts and routes read it here, and nothing else.

The middleware takes the cookie from each request and adds a header with the name of the session, which opens nothing. The
account is looked up at every call: a role that was changed or a session that was ended counts at the next rerun.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NoReturn

import streamlit as st
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

#: Set by the middleware alone, which drops what a client sends under this name.
SESSION_HEADER: Final = "x-tapewatch-session"
#: Where the middleware puts the identity of a request.
SCOPE: Final = "tapewatch.identity"
#: Pages for the person: password, second factor, tokens, log out.
ACCOUNT: Final = "/access/account"
_OWNER: Final = "_tapewatch_owner"


@dataclass(frozen=True)
class Identity:
    """A person, by name and role, and what the person may do: `tapewatch.accounts.roles.PERMISSIONS`."""

    name: str
    role: str
    permissions: frozenset[str]

    def may(self, permission: str) -> bool:
        return permission in self.permissions


Lookup = Callable[[str], Identity | None]
_lookup: list[Lookup] = []


def establish(lookup: Lookup) -> None:
    """Say how the name of a session becomes an identity; done once, where the application is made."""
    _lookup[:] = [lookup]


def current() -> Identity:
    """The person whose script this is. Without one, or once the session has ended, the script stops with a message."""
    session = str(st.context.headers.get(SESSION_HEADER) or "")
    found = _lookup[0](session) if _lookup else None
    if found is None:
        _stop("Your session has ended. [Log in](/access/login)")
    # A browser may resume a session of Streamlit; what another person entered there is not shown.
    if st.session_state.get(_OWNER, found.name) != found.name:
        st.session_state.clear()
    st.session_state[_OWNER] = found.name
    return found


def require(permission: str) -> Identity:
    """The person, who has this permission; for others the script stops with a message."""
    found = current()
    if not found.may(permission):
        _stop(f"Your role, {found.role}, does not allow this page: it needs the permission `{permission}`.")
    return found


def of(connection: HTTPConnection) -> Identity:
    """The person or program that sends a request to a route. Raises an HTTPException (401) without one."""
    found: Identity | None = connection.scope.get(SCOPE)
    if found is None:
        raise HTTPException(401, "log in first")
    return found


def permitted(connection: HTTPConnection, permission: str) -> bool:
    """Whether the sender of a request to a route has a permission. Raises as `of`."""
    return of(connection).may(permission)


def _stop(message: str) -> NoReturn:
    st.error(message)
    st.stop()
