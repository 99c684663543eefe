"""Accounts of people: made, changed and closed, each change with an audit entry."""

import datetime as dt
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from tapewatch.accounts import passwords
from tapewatch.accounts.errors import AccountError
from tapewatch.accounts.records import delete, find, insert, now, select, update
from tapewatch.accounts.roles import ROLES
from tapewatch.market.tables.accounts import LOGIN_FAILURES, RECOVERY_CODES, USER_SESSIONS, USER_TOKENS, USERS
from tapewatch.store.database.database import Database
from tapewatch.store.database.engine import transaction
from tapewatch.store.database.people.audit import record
from tapewatch.store.database.tables import twin

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,99}")
_ADMIN: Final = "admin"


@dataclass(frozen=True)
class User:
    """An account, without its secrets."""

    name: str
    role: str
    created_time: dt.datetime
    has_password: bool
    has_totp: bool
    is_temporary: bool
    is_locked: bool
    subject: str | None

    @property
    def permissions(self) -> frozenset[str]:
        return ROLES.get(self.role, frozenset())

    @property
    def login(self) -> str:
        """How this person logs in, in words."""
        if self.is_locked:
            return "locked"
        if not self.has_password:
            return "provider"
        how = "one-time password" if self.is_temporary else "password"
        return f"{how} and second factor" if self.has_totp else how


def spelt(name: str) -> str:
    """The name as it is kept. Raises an AccountError for what cannot be one."""
    plain = name.strip().lower()
    if not _NAME.fullmatch(plain):
        raise AccountError(
            f"{name[:100]!r} is no login name: it begins with a letter or digit, and has letters, digits and . _ @ + - only"
        )
    return plain


def user_of(row: Any) -> User:
    """The account of a row."""
    return User(
        row["name"],
        row["role"],
        row["created_time"],
        row["password_hash"] is not None,
        row["totp_secret"] is not None,
        row["is_temporary"],
        row["is_locked"],
        row["subject"],
    )


def list_users(database: Database) -> list[User]:
    """All accounts by name."""
    with transaction(database.engine, reads_only=True) as connection:
        return [user_of(row) for row in select(connection, USERS)]


def get_user(database: Database, name: str) -> User | None:
    """The account of that name; None if there is none."""
    with transaction(database.engine, reads_only=True) as connection:
        row = find(connection, USERS, name)
    return None if row is None else user_of(row)


def expect_user(database: Database, name: str) -> User:
    """The account of that name. Raises an AccountError if there is none."""
    with transaction(database.engine, reads_only=True) as connection:
        return user_of(_row_of(connection, name))


def add_user(
    database: Database, name: str, role: str, *, actor: str, password_hash: str | None = None, has_password: bool = True
) -> str | None:
    """Make an account, and return its one-time password.

    Args:
        password_hash: a hash that exists already, in place of a one-time password; see `passwords.expect_hash`.
        has_password: False for an account that only a provider of identities logs in.

    Raises:
        AccountError: the name, role or hash is no such thing, or there is an account of that name.
    """
    name = spelt(name)
    _expect_role(role)
    secret = passwords.one_time_password() if password_hash is None and has_password else None
    stored = passwords.hashed(secret) if secret else password_hash and passwords.expect_hash(password_hash)
    row = {"name": name, "role": role, "created_time": now(), "password_hash": stored, "is_locked": False}
    with transaction(database.engine) as connection:
        if find(connection, USERS, name) is not None:
            raise AccountError(f"there is an account {name} already")
        insert(connection, USERS, row | {"is_temporary": secret is not None})
        record(connection, actor, "add user", name, {"role": role})
    return secret


def first_admin(database: Database, *, actor: str) -> tuple[str, str] | None:
    """Where there is no account at all, make one admin; its name and one-time password."""
    with transaction(database.engine, reads_only=True) as connection:
        if connection.scalar(sa.select(sa.func.count()).select_from(twin(USERS))):
            return None
    with suppress(AccountError):  # another process has made it meanwhile
        if secret := add_user(database, _ADMIN, _ADMIN, actor=actor):
            return _ADMIN, secret
    return None


def set_role(database: Database, name: str, role: str, *, actor: str) -> None:
    """Give an account another role. Raises an AccountError if there is no such account or role, or it is the last admin."""
    _expect_role(role)
    with transaction(database.engine) as connection:
        row = _row_of(connection, name)
        if row["role"] == _ADMIN != role:
            _expect_other_admin(connection, name)
        update(connection, USERS, name, role=role)
        record(connection, actor, "set role", name, {"from": row["role"], "to": role})


def set_locked(database: Database, name: str, *, locked: bool, actor: str) -> None:
    """Close an account, which ends its sessions, or open it again, which forgets its failed logins.

    Raises:
        AccountError: there is no such account, or it is the last admin.
    """
    with transaction(database.engine) as connection:
        row = _row_of(connection, name)
        if locked and row["role"] == _ADMIN:
            _expect_other_admin(connection, name)
        update(connection, USERS, name, is_locked=locked)
        if locked:
            _end_sessions(connection, name)
        else:
            failures = twin(LOGIN_FAILURES).c.subject
            delete(connection, LOGIN_FAILURES, failures.in_([f"password:{name}", f"code:{name}"]))
        record(connection, actor, "lock user" if locked else "unlock user", name, {})


def reset_password(database: Database, name: str, *, actor: str) -> str:
    """Give an account a one-time password, and end its sessions. Raises an AccountError if there is no such account."""
    secret = passwords.one_time_password()
    _store_password(database, name, passwords.hashed(secret), is_temporary=True, actor=actor, action="reset password")
    return secret


def change_password(database: Database, name: str, password: str, *, actor: str) -> None:
    """Give an account a password that its owner chose, and end its sessions.

    Raises:
        AccountError: the password is weak, or there is no such account.
    """
    passwords.expect_strong(password, name)
    _store_password(
        database, name, passwords.hashed(password), is_temporary=False, actor=actor, action="change password"
    )


def remove_totp(database: Database, name: str, *, actor: str) -> None:
    """Take the second factor from an account, with its recovery codes. Raises an AccountError if there is no such account."""
    with transaction(database.engine) as connection:
        _row_of(connection, name)
        update(connection, USERS, name, totp_secret=None, totp_step=None)
        delete(connection, RECOVERY_CODES, twin(RECOVERY_CODES).c.user_name == name)
        record(connection, actor, "remove totp", name, {})


def _store_password(database: Database, name: str, stored: str, *, is_temporary: bool, actor: str, action: str) -> None:
    with transaction(database.engine) as connection:
        _row_of(connection, name)
        update(connection, USERS, name, password_hash=stored, is_temporary=is_temporary)
        _end_sessions(connection, name)
        record(connection, actor, action, name, {})


def _end_sessions(connection: sa.Connection, name: str) -> None:
    """End all sessions of an account, and its tokens: who had the old password may have made some."""
    for table in (USER_SESSIONS, USER_TOKENS):
        delete(connection, table, twin(table).c.user_name == name)


def _expect_role(role: str) -> None:
    if role not in ROLES:
        raise AccountError(f"{role!r} is no role: use {', '.join(ROLES)}")


def _row_of(connection: sa.Connection, name: str) -> Any:
    row = find(connection, USERS, name)
    if row is None:
        raise AccountError(f"there is no account {name!r}: `tapewatch users list` shows all")
    return row


def _expect_other_admin(connection: sa.Connection, name: str) -> None:
    kept = twin(USERS).c
    if not select(connection, USERS, kept.role == _ADMIN, kept.name != name, sa.not_(kept.is_locked)):
        raise AccountError(f"{name} is the last admin: nobody could manage accounts; make another admin first")
