"""Accounts of people whom a provider of identities (OpenID Connect) vouches for."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from tapewatch.accounts.errors import AccountError, RefusedError
from tapewatch.accounts.records import find, select
from tapewatch.accounts.users import User, add_user, spelt, user_of
from tapewatch.market.tables.accounts import USERS
from tapewatch.store.database.database import Database
from tapewatch.store.database.engine import transaction
from tapewatch.store.database.people.audit import record
from tapewatch.store.database.tables import twin


def user_of_claims(database: Database, issuer: str, claims: Mapping[str, Any], new_role: str | None) -> User:
    """The account of a person, by the verified claims of an ID token.

    The person is known by issuer and subject. At the first login the account is found by the verified e-mail address, and bound
    to them: it must have no password, so that nobody takes over an account by an address at a provider. With `new_role`, an
    account is made where there is none.

    Raises:
        RefusedError: there is no account, or it is another's.
    """
    subject = f"{issuer} {claims.get('sub', '')}"
    if not claims.get("sub"):
        raise RefusedError("The provider of identities does not say who this is.")
    with transaction(database.engine, reads_only=True) as connection:
        known = select(connection, USERS, twin(USERS).c.subject == subject)
    if known:
        return user_of(known[0])
    name = _name_of(claims)
    if new_role is not None:
        _make(database, name, new_role, issuer)
    return _bound(database, name, subject)


def _name_of(claims: Mapping[str, Any]) -> str:
    # An address that the provider has not verified may be anyone's.
    if claims.get("email_verified") is not True or not isinstance(claims.get("email"), str):
        raise RefusedError("The provider of identities does not vouch for an e-mail address.")
    try:
        return spelt(claims["email"])
    except AccountError as error:
        raise RefusedError(str(error)) from error


def _make(database: Database, name: str, role: str, issuer: str) -> None:
    with transaction(database.engine, reads_only=True) as connection:
        is_there = find(connection, USERS, name) is not None
    if not is_there:
        add_user(database, name, role, actor=issuer, has_password=False)


def _bound(database: Database, name: str, subject: str) -> User:
    with transaction(database.engine) as connection:
        row = find(connection, USERS, name)
        if row is None:
            raise RefusedError(
                f"There is no account {name}: an admin makes it with `tapewatch users add {name} --oidc`."
            )
        if row["subject"] is not None or row["password_hash"] is not None:
            raise RefusedError(f"The account {name} belongs to another login.")
        is_free = sa.and_(twin(USERS).c.name == name, twin(USERS).c.subject.is_(None))
        connection.execute(sa.update(twin(USERS)).where(is_free).values(subject=subject))
        record(connection, name, "bind identity", name, {"subject": subject})
        return user_of(dict(row) | {"subject": subject})
