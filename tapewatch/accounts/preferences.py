"""How a person wants the dashboard: its theme, and whether alerts sound."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from tapewatch.accounts.errors import AccountError
from tapewatch.accounts.records import find, insert, now, update
from tapewatch.market.tables.accounts import USER_PREFERENCES
from tapewatch.store.database.database import Database
from tapewatch.store.database.engine import transaction

THEMES: Final = ("system", "light", "dark")


@dataclass(frozen=True)
class Preferences:
    """What a person chose; the defaults are those of someone who chose nothing."""

    theme: str = "system"
    is_muted: bool = False


def preferences_of(database: Database, name: str) -> Preferences:
    """What a person chose.

    Raises:
        DatabaseError: the database cannot be read.
    """
    with transaction(database.engine, reads_only=True) as connection:
        row = find(connection, USER_PREFERENCES, name)
    return Preferences() if row is None else Preferences(row["theme"], row["is_muted"])


def prefer(database: Database, name: str, **changes: Any) -> Preferences:
    """Keep a person's choices, the fields of `Preferences`; others stay as they are. Returns all of them.

    Raises:
        AccountError: there is no such theme.
        DatabaseError: the database cannot be written.
    """
    chosen = replace(preferences_of(database, name), **changes)
    if chosen.theme not in THEMES:
        raise AccountError(f"The theme is one of {', '.join(THEMES)}, not {chosen.theme[:40]!r}.")
    row = {**asdict(chosen), "created_time": now()}
    with transaction(database.engine) as connection:
        if not update(connection, USER_PREFERENCES, name, **row):
            insert(connection, USER_PREFERENCES, {"user_name": name, **row})
    return chosen
