"""What the middleware and the scripts look up: sessions and tokens, with a short memory."""

import time
from dataclasses import dataclass, field
from typing import Final

from dashboard.identity import Identity
from tapewatch.accounts import sessions, tokens
from tapewatch.accounts.records import digest, now
from tapewatch.accounts.roles import TOKEN_PERMISSIONS
from tapewatch.accounts.sessions import Lifetime, Session
from tapewatch.store.database.database import Database

#: A page brings dozens of files: they share one look at the database. What another process ended, ends so much later.
_REMEMBERED_S: Final = 1.0
_MOST: Final = 4096


@dataclass
class Directory:
    """Sessions and tokens of a database. Every method but `forget` may wait for the database: call them in a thread."""

    database: Database
    lifetime: Lifetime
    requires_totp: bool = False
    _known: dict[str, tuple[float, Session | None]] = field(default_factory=dict)

    def session(self, secret: str) -> Session | None:
        """The session of a cookie, whether or not it is complete; None for one that has ended."""
        return self.session_by_id(digest(secret)) if secret else None

    def session_by_id(self, session_id: str) -> Session | None:
        moment = time.monotonic()
        known = self._known.get(session_id)
        if known is not None and moment - known[0] < _REMEMBERED_S:
            return known[1]
        if len(self._known) >= _MOST:
            self._known.clear()
        found = sessions.find_session(self.database, session_id, self.lifetime)
        self._known[session_id] = (moment, found)
        return found

    def is_admitted(self, session: Session) -> bool:
        """Whether a session opens the dashboard: no code, new password or second factor is awaited."""
        user = session.user
        lacks_factor = self.requires_totp and user.has_password and not user.has_totp
        return session.is_complete and not user.is_temporary and not lacks_factor

    def next_step(self, session: Session | None) -> str:
        """The page that brings a session closer to the dashboard; the dashboard itself for one that is admitted."""
        if session is None:
            return "/access/login"
        if not session.is_complete:
            return "/access/code"
        if session.user.is_temporary:
            return "/access/password"
        return "/" if self.is_admitted(session) else "/access/totp"

    def identity(self, session_id: str) -> Identity | None:
        """Who uses a session; None for one that has ended or does not open the dashboard."""
        session = self.session_by_id(session_id) if session_id else None
        if session is None or not self.is_admitted(session):
            return None
        return Identity(session.user.name, session.user.role, session.user.permissions)

    def program(self, token: str) -> Identity | None:
        """Whom a token stands for, with the permissions of programs; None for no token."""
        owner = tokens.owner_of(self.database, token)
        if owner is None or owner.is_temporary:
            return None
        return Identity(owner.name, owner.role, owner.permissions & TOKEN_PERMISSIONS)

    def touch(self, session: Session) -> None:
        """Note activity, if the last was noted a while ago."""
        if session.is_seen_anew(now()):
            sessions.touch(self.database, session.session_id)
            self.forget()

    def note_activity(self, session_id: str) -> None:
        """As `touch`, for a session by its name, if it has not ended."""
        session = self.session_by_id(session_id)
        if session is not None:
            self.touch(session)

    def forget(self) -> None:
        """Look at the database anew: this process ended a session or changed an account."""
        self._known.clear()
