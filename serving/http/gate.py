"""Who may call an operation, and how often: API keys with scopes, the deployment's token, rate limits per key."""

import datetime as dt
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from serving.http.problems import Problem
from tapewatch.accounts.keys import ApiKey, KeyRing
from tapewatch.web.access import Access

KEY_HEADER: Final = "x-api-key"
#: The scope of operations that any key may call.
ANY: Final = ""
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="tapewatch"'}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: the name for logs and verdicts, and the id under which requests are counted."""

    name: str
    key_id: str
    requests_per_minute: int | None = None


LOCAL: Final = Caller("local", "local")
#: Who was not asked, or gave no valid key.
UNKNOWN: Final = Caller("", "")
#: The holder of the deployment's token, which the guard has checked.
_TOKEN_HOLDER: Final = Caller("token", "token")


class Gate:
    """Admits callers.

    Without any valid key and token the service is open, as on loopback by default. Once there is a key, every caller needs one, or
    the token.

    Args:
        access: the deployment's names and token.
        requests_per_minute: of a key that has no limit of its own.
        ring: the keys as they were read last; None as long as they could not be read.
    """

    def __init__(self, access: Access, requests_per_minute: int, ring: KeyRing | None = None) -> None:
        self.access, self.ring = access, ring
        self._rate = requests_per_minute
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._items: dict[int, RateLimitItemPerMinute] = {}

    @property
    def is_open(self) -> bool:
        """Whether anybody who reaches the service may use it."""
        ring = self.ring
        return ring is not None and not self.access.token and not (ring.keys and ring.has_valid(_now()))

    def admit(self, headers: Mapping[str, str], scope: str) -> Caller:
        """The caller of an operation that needs `scope`; names of `headers` are in lower case.

        Raises:
            Problem: 401 without a valid key, 403 if it lacks the scope, 429 above its limit, 503 before the keys are read.
        """
        if self.ring is None:
            raise Problem(
                503,
                "keys-unread",
                "the API keys could not be read from the database yet",
                way_out="try again in a few seconds; the service's log names the cause",
                headers={"Retry-After": "5"},
            )
        caller = self._caller(headers, scope)
        if caller is not LOCAL:
            self._count(caller)
        return caller

    def knows(self, headers: Mapping[str, str]) -> bool:
        """Whether a request carries a valid key: the guard asks for the token otherwise."""
        given = _given(headers)
        return bool(given) and self.ring is not None and self.ring.find(given, _now()) is not None

    def _caller(self, headers: Mapping[str, str], scope: str) -> Caller:
        ring = self.ring or KeyRing({})
        given = _given(headers)
        if given:
            key = ring.find(given, _now())
            if key is None:
                raise _unauthorised("this API key is not valid: it is unknown, expired or revoked")
            return _allowed(key, scope)
        if self.access.token:
            return _TOKEN_HOLDER
        if ring.keys and ring.has_valid(_now()):
            raise _unauthorised("this service asks for an API key")
        return LOCAL

    def _count(self, caller: Caller) -> None:
        rate = caller.requests_per_minute or self._rate
        item = self._items.get(rate)
        if item is None:
            item = self._items[rate] = RateLimitItemPerMinute(rate)
        if not self._limiter.hit(item, caller.key_id):
            wait = max(1, math.ceil(self._limiter.get_window_stats(item, caller.key_id).reset_time - time.time()))
            raise Problem(
                429,
                "rate",
                f"{caller.name} has made its {rate:,} requests of this minute",
                way_out=f"wait {wait} s, send more rows a request, or ask for a higher limit: `tapewatch keys create --rate`",
                headers={"Retry-After": str(wait)},
            )


def _given(headers: Mapping[str, str]) -> str:
    """The API key that a request carries; the deployment's token is none."""
    key = headers.get(KEY_HEADER)
    if key is not None:
        return key.strip() or "-"
    kind, _, given = headers.get("authorization", "").partition(" ")
    return given.strip() if kind.lower() == "bearer" and given.strip().startswith("tw_") else ""


def _allowed(key: ApiKey, scope: str) -> Caller:
    if scope != ANY and not key.allows(scope):
        raise Problem(
            403,
            "scope",
            f"the key of {key.name} allows {', '.join(key.scopes)}, and this needs {scope}",
            way_out=f"use a key made with `tapewatch keys create {key.name} --scopes {scope}`",
        )
    return Caller(key.name, key.key_id, key.requests_per_minute)


def _unauthorised(why: str) -> Problem:
    return Problem(
        401,
        "key",
        why,
        way_out="send `Authorization: Bearer KEY` or `X-API-Key: KEY`; `tapewatch keys create` makes one",
        headers=_CHALLENGE,
    )


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
