"""What happens at a login: password, second factor, session."""

from dataclasses import dataclass, field
from typing import Final

from tapewatch.accounts import passwords, throttle, totp
from tapewatch.accounts.errors import AccountError, RefusedError, WaitError
from tapewatch.accounts.records import find, update
from tapewatch.accounts.sealing import Seal
from tapewatch.accounts.sessions import Lifetime, Session, end_session, open_session
from tapewatch.accounts.users import User, change_password, spelt, user_of
from tapewatch.market.tables.accounts import USERS
from tapewatch.store.database.database import Database
from tapewatch.store.database.engine import transaction
from tapewatch.store.database.people.audit import record

_REFUSED: Final = "Name or password is wrong, or the account is closed."
_WRONG_CODE: Final = "This code is wrong, or was used before."


@dataclass(frozen=True)
class Client:
    """Where a request comes from."""

    address: str
    agent: str = ""


@dataclass(frozen=True)
class Door:
    """Lets people in: every step answers with the secret of a new session, which goes into the cookie."""

    database: Database
    seal: Seal
    lifetime: Lifetime = field(default_factory=Lifetime)
    addresses: throttle.AddressLimit = field(default_factory=throttle.AddressLimit)

    def log_in(self, name: str, password: str, client: Client) -> tuple[str, bool]:
        """Check name and password; the session's secret, and whether it is complete or awaits a code.

        Raises:
            WaitError: too many failures of the account or the address.
            RefusedError: the password is wrong, there is no such account, or it is locked.
        """
        self._limit(client)
        user = self._checked(name, password, client)
        secret = self._open(user, client, is_complete=not user.has_totp)
        return secret, not user.has_totp

    def confirm(self, session: Session, code: str, client: Client) -> str:
        """Check the code of a session that awaits one; the secret of the complete session that replaces it.

        Raises:
            WaitError, RefusedError: as `log_in`.
        """
        name = session.user.name
        self._limit(client)
        self._begin(f"code:{name}", name, client)
        if not totp.is_code(self.database, self.seal, name, code):
            self._note(name, "login refused", client, {"why": "code"})
            raise RefusedError(_WRONG_CODE)
        throttle.forget_failures(self.database, f"code:{name}")
        end_session(self.database, session.session_id)
        return self._open(session.user, client, is_complete=True)

    def admit(self, user: User, client: Client) -> str:
        """A complete session for a person whom a provider of identities vouches for. Raises a RefusedError if locked."""
        if user.is_locked:
            self._note(user.name, "login refused", client, {"why": "locked"})
            raise RefusedError(_REFUSED)
        return self._open(user, client, is_complete=True)

    def renew_password(self, session: Session, current: str, wanted: str, client: Client) -> str:
        """Change the password of a session's owner; all sessions end, and the secret of a new one is returned.

        Raises:
            WaitError, RefusedError: as `log_in`, for the current password.
            AccountError: the new password is weak, or the current one.
        """
        self.expect_password(session, current, client)
        if wanted == current:
            raise AccountError("The new password is the current one: choose another.")
        change_password(self.database, session.user.name, wanted, actor=session.user.name)
        return self._open(session.user, client, is_complete=True)

    def expect_password(self, session: Session, password: str, client: Client) -> None:
        """Check the password of a person who is logged in, before what matters. Raises as `log_in`."""
        self._limit(client)
        self._checked(session.user.name, password, client)

    def leave(self, session: Session, client: Client) -> None:
        """End a session."""
        end_session(self.database, session.session_id)
        self._note(session.user.name, "logout", client, {})

    def _limit(self, client: Client) -> None:
        self.addresses.count(client.address)

    def _checked(self, name: str, password: str, client: Client) -> User:
        try:
            name = spelt(name)
        except AccountError:
            # As much work as for a name that could be one.
            passwords.is_password(password, None)
            raise RefusedError(_REFUSED) from None
        self._begin(f"password:{name}", name, client)
        with transaction(self.database.engine, reads_only=True) as connection:
            row = find(connection, USERS, name)
        stored: str | None = None if row is None else row["password_hash"]
        is_right = passwords.is_password(password, stored)
        if row is None or stored is None or not is_right or row["is_locked"]:
            self._note(name, "login refused", client, {"why": "locked" if row and row["is_locked"] else "password"})
            raise RefusedError(_REFUSED)
        throttle.forget_failures(self.database, f"password:{name}")
        if passwords.is_outdated(stored):
            with transaction(self.database.engine) as connection:
                update(connection, USERS, name, password_hash=passwords.hashed(password))
                record(connection, name, "upgrade hash", name, {"from": stored.strip("$").partition("$")[0]})
        return user_of(row)

    def _begin(self, subject: str, name: str, client: Client) -> None:
        try:
            throttle.begin_attempt(self.database, subject)
        except WaitError:
            self._note(name, "login delayed", client, {})
            raise

    def _open(self, user: User, client: Client, *, is_complete: bool) -> str:
        secret = open_session(
            self.database,
            user.name,
            lifetime=self.lifetime,
            is_complete=is_complete,
            address=client.address,
            agent=client.agent,
        )
        if is_complete:
            self._note(user.name, "login", client, {})
        return secret

    def _note(self, name: str, action: str, client: Client, detail: dict[str, object]) -> None:
        with transaction(self.database.engine) as connection:
            record(connection, name, action, name, detail | {"address": client.address})
