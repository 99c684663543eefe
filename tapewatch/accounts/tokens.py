"""Tokens with which programs read from the dashboard in the name of a person."""

import datetime as dt
import secrets
from dataclasses import dataclass
from typing import Final

from tapewatch.accounts.errors import AccountError
from tapewatch.accounts.records import delete, digest, find, insert, now, select, update
from tapewatch.accounts.users import User, user_of
from tapewatch.market.tables.accounts import USER_TOKENS, USERS
from tapewatch.store.database.database import Database
from tapewatch.store.database.engine import transaction
from tapewatch.store.database.people.audit import record
from tapewatch.store.database.tables import twin

#: A program that scans for secrets finds one that was published.
PREFIX: Final = "tapewatch_"
_SECRET_BYTES: Final = 32
_LONGEST_DAYS: Final = 366
_LONGEST_TITLE: Final = 100
_MOST: Final = 20
#: A token is not written for every request.
_USED_EVERY: Final = dt.timedelta(minutes=1)


@dataclass(frozen=True)
class Token:
    """A token without its secret."""

    token_id: str
    title: str
    created_time: dt.datetime
    expires_time: dt.datetime
    used_time: dt.datetime | None


def make_token(database: Database, user: User, title: str, days: int) -> str:
    """A new token of a person, which is shown once.

    Raises:
        AccountError: it has no title, too long a life, or the person has too many.
    """
    title = title.strip()[:_LONGEST_TITLE]
    if not title:
        raise AccountError("Give the token a name, such as that of the program.")
    if not 1 <= days <= _LONGEST_DAYS:
        raise AccountError(f"A token lasts 1 to {_LONGEST_DAYS} days, not {days}.")
    secret, moment = PREFIX + secrets.token_urlsafe(_SECRET_BYTES), now()
    token_id = digest(secret)
    row = {"token_id": token_id, "user_name": user.name, "title": title, "created_time": moment}
    with transaction(database.engine) as connection:
        if len(select(connection, USER_TOKENS, twin(USER_TOKENS).c.user_name == user.name)) >= _MOST:
            raise AccountError(f"You have {_MOST} tokens: revoke one first.")
        insert(connection, USER_TOKENS, row | {"expires_time": moment + dt.timedelta(days=days)})
        record(connection, user.name, "make token", token_id[:12], {"title": title, "days": days})
    return secret


def owner_of(database: Database, secret: str) -> User | None:
    """The person whose token this is; None if it is no token, has ended, or the account is locked."""
    if not secret.startswith(PREFIX):
        return None
    with transaction(database.engine) as connection:
        row = find(connection, USER_TOKENS, digest(secret))
        if row is None or now() >= row["expires_time"]:
            return None
        owner = find(connection, USERS, row["user_name"])
        if owner is None or owner["is_locked"]:
            return None
        if row["used_time"] is None or now() - row["used_time"] > _USED_EVERY:
            update(connection, USER_TOKENS, row["token_id"], used_time=now())
    return user_of(owner)


def tokens_of(database: Database, user: User) -> list[Token]:
    """The tokens of a person, the newest first."""
    with transaction(database.engine, reads_only=True) as connection:
        rows = select(connection, USER_TOKENS, twin(USER_TOKENS).c.user_name == user.name)
    found = [
        Token(row["token_id"], row["title"], row["created_time"], row["expires_time"], row["used_time"]) for row in rows
    ]
    return sorted(found, key=lambda token: token.created_time, reverse=True)


def revoke_token(database: Database, user: User, token_id: str) -> bool:
    """End a token of a person; whether there was such a token."""
    kept = twin(USER_TOKENS).c
    with transaction(database.engine) as connection:
        is_gone = bool(delete(connection, USER_TOKENS, kept.token_id == token_id, kept.user_name == user.name))
        if is_gone:
            record(connection, user.name, "revoke token", token_id[:12], {})
    return is_gone
