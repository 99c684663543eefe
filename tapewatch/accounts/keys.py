"""API keys of programs: made, rotated, revoked and checked. A key is `tw_<id>_<secret>`; only the secret's hash is stored.

A secret has 256 random bits, so nobody finds it from a plain SHA-256, and no slow hash is needed.
"""

import datetime as dt
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

import polars as pl

from tapewatch.market.tables.live import API_KEYS
from tapewatch.store.database.database import Database
from tapewatch.store.database.engine import transaction
from tapewatch.store.database.people.audit import EVERY_MARKET, record
from tapewatch.store.database.rows import as_kept
from tapewatch.store.database.upserts import upsert

SCOPES: Final = ("score", "explain", "feedback", "admin")
_PREFIX: Final = "tw"
_LONGEST_NAME: Final = 64


class ApiKeyError(ValueError):
    """A key cannot be made or changed; the message says why and the way out."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is stored of a key. `admin` includes every other scope."""

    key_id: str
    name: str
    scopes: tuple[str, ...]
    secret_hash: str
    created_time: dt.datetime
    expires_time: dt.datetime | None = None
    requests_per_minute: int | None = None

    def allows(self, scope: str) -> bool:
        return scope in self.scopes or "admin" in self.scopes

    def is_valid_at(self, time: dt.datetime) -> bool:
        return self.expires_time is None or time < self.expires_time


@dataclass(frozen=True)
class KeyRing:
    """The keys of a deployment as they were read last."""

    keys: dict[str, ApiKey]

    @classmethod
    def of(cls, keys: Iterable[ApiKey]) -> Self:
        return cls({key.key_id: key for key in keys})

    def find(self, text: str, now: dt.datetime) -> ApiKey | None:
        """The valid key that `text` is; None if there is none. Takes as long for a wrong secret as for the right one."""
        prefix, _, rest = text.partition("_")
        key_id, _, secret = rest.partition("_")
        key = self.keys.get(key_id) if prefix == _PREFIX else None
        is_right = hmac.compare_digest(_hash(secret), key.secret_hash if key else _hash(""))
        return key if key is not None and is_right and key.is_valid_at(now) else None

    def has_valid(self, now: dt.datetime) -> bool:
        return any(key.is_valid_at(now) for key in self.keys.values())


def create_key(
    database: Database,
    name: str,
    scopes: Sequence[str],
    *,
    actor: str,
    lifetime: dt.timedelta | None = None,
    requests_per_minute: int | None = None,
) -> tuple[ApiKey, str]:
    """Make a key; returns what is stored, and the key itself, which cannot be shown again.

    Raises:
        ApiKeyError: no name, or an unknown scope.
        DatabaseError: the database refuses.
    """
    if not name.strip() or len(name) > _LONGEST_NAME:
        raise ApiKeyError(f"a key needs a name of 1 to {_LONGEST_NAME} characters, such as the program that uses it")
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        raise ApiKeyError(f"{', '.join(unknown) or 'no scope'}: give one or more of {', '.join(SCOPES)}")
    if requests_per_minute is not None and requests_per_minute < 1:
        raise ApiKeyError(f"{requests_per_minute} requests a minute: give 1 or more")
    now = dt.datetime.now(dt.UTC)
    secret = secrets.token_urlsafe(32)
    key = ApiKey(
        secrets.token_hex(6),
        name.strip(),
        tuple(scope for scope in SCOPES if scope in scopes),
        _hash(secret),
        now,
        None if lifetime is None else now + lifetime,
        requests_per_minute,
    )
    _store(database, [key], actor, "key_create", key)
    return key, f"{_PREFIX}_{key.key_id}_{secret}"


def list_keys(database: Database) -> list[ApiKey]:
    """Every key, also expired and revoked ones, oldest first."""
    rows = database.read(API_KEYS).select(API_KEYS.schema.names()).iter_rows(named=True)
    return [ApiKey(**{**row, "scopes": tuple(row["scopes"].split(","))}) for row in rows]


def rotate_key(database: Database, key_id: str, *, actor: str, overlap: dt.timedelta) -> tuple[ApiKey, str]:
    """Make a key in place of another, which stays valid for `overlap`; returns as `create_key`.

    Raises:
        ApiKeyError: there is no such valid key.
    """
    old = _valid(database, key_id)
    new, text = create_key(database, old.name, old.scopes, actor=actor, requests_per_minute=old.requests_per_minute)
    _expire(database, old, overlap, actor, "key_rotate")
    return new, text


def revoke_key(database: Database, key_id: str, *, actor: str) -> ApiKey:
    """Refuse a key from now on.

    Raises:
        ApiKeyError: there is no such valid key.
    """
    return _expire(database, _valid(database, key_id), dt.timedelta(), actor, "key_revoke")


def _valid(database: Database, key_id: str) -> ApiKey:
    now = dt.datetime.now(dt.UTC)
    for key in list_keys(database):
        if key.key_id == key_id and key.is_valid_at(now):
            return key
    raise ApiKeyError(f"there is no valid key {key_id!r}: `tapewatch keys list` shows the ids")


def _expire(database: Database, key: ApiKey, after: dt.timedelta, actor: str, action: str) -> ApiKey:
    ends = dt.datetime.now(dt.UTC) + after
    ended = ApiKey(
        key.key_id,
        key.name,
        key.scopes,
        key.secret_hash,
        key.created_time,
        min(ends, key.expires_time) if key.expires_time else ends,
        key.requests_per_minute,
    )
    _store(database, [ended], actor, action, ended)
    return ended


def _store(database: Database, keys: Sequence[ApiKey], actor: str, action: str, about: ApiKey) -> None:
    rows = [{name: getattr(key, name) for name in API_KEYS.schema} | {"scopes": ",".join(key.scopes)} for key in keys]
    frame = API_KEYS.conform(pl.DataFrame(rows, schema={**API_KEYS.schema, **_TIMES}))
    place = pl.DataFrame({"market": [EVERY_MARKET] * len(keys), "date": [key.created_time.date() for key in keys]})
    with transaction(database.engine) as connection:
        upsert(connection, API_KEYS, as_kept(API_KEYS, frame, place))
        record(connection, actor, action, about.key_id, {"name": about.name, "scopes": ",".join(about.scopes)})


#: The times of rows as Python has them.
_TIMES: Final = {name: pl.Datetime("us", "UTC") for name in ("created_time", "expires_time")}


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
