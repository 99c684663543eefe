"""Logins that last: kept in the database, ended by time, by their owner or by an admin."""

import datetime as dt
import secrets
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from tapewatch.accounts.records import delete, digest, find, insert, now, select, update
from tapewatch.accounts.users import User, user_of
from tapewatch.market.tables.accounts import USER_SESSIONS, USERS
from tapewatch.store.database.database import Database
from tapewatch.store.database.engine import transaction
from tapewatch.store.database.tables import twin

_SECRET_BYTES: Final = 32
#: How long the second factor is awaited.
_CODE_WITHIN: Final = dt.timedelta(minutes=5)
#: A session is not written for every click.
_SEEN_EVERY: Final = dt.timedelta(seconds=30)
_LONGEST_AGENT: Final = 200


@dataclass(frozen=True)
class Lifetime:
    """How long a session lasts without activity, and in any case."""

    idle: dt.timedelta = dt.timedelta(hours=2)
    absolute: dt.timedelta = dt.timedelta(hours=12)


@dataclass(frozen=True)
class Session:
    """A login. `session_id` names it and does not open it: the browser's cookie holds a secret, of which this is the hash."""

    session_id: str
    user: User
    created_time: dt.datetime
    seen_time: dt.datetime
    expires_time: dt.datetime
    is_complete: bool
    address: str
    agent: str

    def is_seen_anew(self, moment: dt.datetime) -> bool:
        """Whether activity at that moment is worth writing down."""
        return moment - self.seen_time > _SEEN_EVERY


def open_session(
    database: Database, name: str, *, lifetime: Lifetime, is_complete: bool, address: str, agent: str
) -> str:
    """Start a session, and return the secret for the cookie. Sessions that have run out are deleted."""
    secret, moment = secrets.token_urlsafe(_SECRET_BYTES), now()
    lasts = lifetime.absolute if is_complete else _CODE_WITHIN
    row = {
        "session_id": digest(secret),
        "user_name": name,
        "created_time": moment,
        "seen_time": moment,
        "expires_time": moment + lasts,
        "is_complete": is_complete,
        "address": address[:_LONGEST_AGENT],
        "agent": "".join(letter for letter in agent if letter.isprintable())[:_LONGEST_AGENT],
    }
    with transaction(database.engine) as connection:
        delete(connection, USER_SESSIONS, twin(USER_SESSIONS).c.expires_time < moment)
        insert(connection, USER_SESSIONS, row)
    return secret


def find_session(database: Database, session_id: str, lifetime: Lifetime) -> Session | None:
    """A session that has not ended, of an account that is open; else None."""
    with transaction(database.engine, reads_only=True) as connection:
        row = find(connection, USER_SESSIONS, session_id)
        owner = None if row is None else find(connection, USERS, row["user_name"])
    if row is None or owner is None or owner["is_locked"]:
        return None
    moment = now()
    return None if moment >= _end(row, lifetime) else _session_of(row, user_of(owner))


def touch(database: Database, session_id: str) -> None:
    """Note that the person does something."""
    with transaction(database.engine) as connection:
        update(connection, USER_SESSIONS, session_id, seen_time=now())


def sessions_of(database: Database, user: User, lifetime: Lifetime) -> list[Session]:
    """The complete sessions of an account that have not ended, the newest first."""
    kept, moment = twin(USER_SESSIONS).c, now()
    with transaction(database.engine, reads_only=True) as connection:
        rows = select(connection, USER_SESSIONS, kept.user_name == user.name, kept.is_complete)
    found = [_session_of(row, user) for row in rows if moment < _end(row, lifetime)]
    return sorted(found, key=lambda session: session.created_time, reverse=True)


def end_session(database: Database, session_id: str, *, owner: str | None = None) -> bool:
    """End a session, of this owner alone if one is given; whether there was such a session."""
    kept = twin(USER_SESSIONS).c
    conditions: list[sa.ColumnElement[bool]] = [kept.session_id == session_id]
    if owner is not None:
        conditions.append(kept.user_name == owner)
    with transaction(database.engine) as connection:
        return bool(delete(connection, USER_SESSIONS, *conditions))


def end_sessions_of(database: Database, name: str) -> int:
    """End all sessions of an account; how many there were."""
    with transaction(database.engine) as connection:
        return delete(connection, USER_SESSIONS, twin(USER_SESSIONS).c.user_name == name)


def _end(row: Any, lifetime: Lifetime) -> dt.datetime:
    """The moment at which a session ends: a setting that was shortened counts for those that are open."""
    latest: dt.datetime = min(row["expires_time"], row["created_time"] + lifetime.absolute)
    idle: dt.datetime = row["seen_time"] + lifetime.idle
    return min(latest, idle)


def _session_of(row: Any, user: User) -> Session:
    return Session(
        row["session_id"],
        user,
        row["created_time"],
        row["seen_time"],
        row["expires_time"],
        row["is_complete"],
        row["address"],
        row["agent"],
    )
