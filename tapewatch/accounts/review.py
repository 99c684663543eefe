"""What is weak in the accounts of a database."""

from collections.abc import Iterator
from typing import Final

from tapewatch.accounts import passwords
from tapewatch.accounts.records import select
from tapewatch.market.tables.accounts import USERS
from tapewatch.store.database.database import Database
from tapewatch.store.database.engine import transaction

#: The commonest passwords, which are tried on every account; each try takes a tenth of a second.
_TRIED: Final = (
    "password",
    "admin",
    "123456",
    "123456789012",
    "changeme",
    "password1234",
    "tapewatch",
    "tapewatch1234",
)


def weaknesses(database: Database) -> Iterator[tuple[str, str, bool]]:
    """What is the case, what to do about it, and whether it is a fault."""
    with transaction(database.engine, reads_only=True) as connection:
        rows = select(connection, USERS)
    for row in rows:
        name, stored = row["name"], row["password_hash"]
        if row["is_locked"] or stored is None:
            continue
        if any(passwords.is_password(tried, stored) for tried in (name, *_TRIED)):
            yield f"{name} has a password that everyone tries first", f"tapewatch users password {name}", True
        if row["is_temporary"]:
            yield f"{name} has not changed the one-time password", f"log in, or tapewatch users lock {name}", False
        elif row["role"] == "admin" and row["totp_secret"] is None:
            yield f"{name} is admin without a second factor", "set one up on the account page", False
        if passwords.is_outdated(stored):
            remedy = f"it is replaced at the next login; or tapewatch users password {name}"
            yield f"the password of {name} is kept as an older hash", remedy, False
