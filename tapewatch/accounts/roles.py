"""Roles, and what each may do."""

from collections.abc import Mapping
from typing import Final

#: See the dashboard; label the tape and judge alerts; take data out; change how the dashboard works; manage accounts.
PERMISSIONS: Final = ("dashboard", "mark", "export", "settings", "users")
ROLES: Final[Mapping[str, frozenset[str]]] = {
    "viewer": frozenset({"dashboard"}),
    "user": frozenset({"dashboard", "mark", "export"}),
    "manager": frozenset({"dashboard", "mark", "export", "settings"}),
    "admin": frozenset(PERMISSIONS),
}
#: What a program may do with a token, if its owner may.
TOKEN_PERMISSIONS: Final = frozenset({"dashboard", "export"})
