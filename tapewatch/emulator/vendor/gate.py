"""Keys, plans and call rates, enforced as the vendor does.

A key names its plan: `starter-…` (or `starter`) has the rights and the call rate of the plan starter, and likewise `basic`,
`developer` and `advanced`; any other key has the plan advanced.

One departure from the vendor, which has no crypto quotes: /v3/quotes serves them to every plan with crypto trades.
"""

import datetime as dt
import hmac
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from starlette.requests import Request

from tapewatch.emulator.vendor import replies
from tapewatch.emulator.vendor.times import day_start
from tapewatch.feeds.plans.table import TIERS, MarketPlan, Recency, TapeTable, plan_for
from tapewatch.market.instruments import NEW_YORK, Market

_DEFAULT_TIER = "advanced"
_BEARER = "bearer "

Clock = Callable[[], int]


def tier_of(key: str) -> str:
    """The plan that a key names."""
    head, _, _ = key.partition("-")
    return head.lower() if head.lower() in TIERS else _DEFAULT_TIER


class Gate:
    """Checks every request.

    Args:
        key: the only key to accept; None accepts any that is not empty.
        clock: the present, in ns UTC.
        plans: a table of plans to use instead of the platform's own.
    """

    def __init__(self, key: str | None = None, clock: Clock = time.time_ns, *, plans: Path | None = None) -> None:
        self._key = key
        self._clock = clock
        self._plans = plans
        self._calls: dict[str, deque[int]] = {}
        self._lock = threading.Lock()

    @property
    def now(self) -> int:
        return self._clock()

    def admit(self, request: Request) -> str:
        """Count the request as a call of its key, and return the key.

        Raises:
            Refusal: 401 for a missing or wrong key, 429 for too many calls.
        """
        key = _presented(request)
        if not key:
            raise replies.missing_key()
        if self._key is not None and not hmac.compare_digest(key.encode(), self._key.encode()):
            raise replies.unknown_key()
        self._count(key)
        return key

    def accepts(self, key: str) -> bool:
        return bool(key) and (self._key is None or hmac.compare_digest(key.encode(), self._key.encode()))

    def channels(self, key: str, market: Market) -> tuple[str, ...]:
        """The channels of a market's stream in the key's plan."""
        return self._plan(key, market).plan.websocket

    def stream_delay_ns(self, key: str, market: Market) -> int:
        """The delay of a market's stream in the key's plan."""
        return int(self._plan(key, market).stream_recency.delay.total_seconds() * 1e9)

    def window(
        self, key: str, market: Market, table: TapeTable, low: int | None, high: int | None
    ) -> tuple[int | None, int]:
        """The part of `[low, high)` (ns UTC, None is open) of a market's table that the key's plan includes at present.

        Raises:
            Refusal: 403 if the plan lacks the table or all of the time.
        """
        plan = self._plan(key, market)
        if not plan.grants(TapeTable.TRADES if market is Market.CRYPTO and table is TapeTable.QUOTES else table):
            raise replies.not_in_plan()
        now = self.now
        today = dt.datetime.fromtimestamp(now / 1e9, NEW_YORK).date()
        newest = now - int(plan.plan.recency.delay.total_seconds() * 1e9)
        if plan.plan.recency is Recency.END_OF_DAY:
            newest = day_start(today, Market.STOCKS)
        is_behind = newest < now
        if is_behind and low is not None and low >= newest:
            raise replies.not_in_timeframe()
        if plan.plan.history_years is not None:
            oldest = day_start(plan.first_day(today), Market.STOCKS)
            if high is not None and high <= oldest:
                raise replies.not_in_timeframe()
            low = oldest if low is None else max(low, oldest)
        return low, newest if high is None else min(high, newest)

    def _plan(self, key: str, market: Market) -> MarketPlan:
        return plan_for(market, tier_of(key), path=self._plans)

    def _count(self, key: str) -> None:
        plan = self._plan(key, Market.STOCKS)
        allowed, seconds = plan.rate
        if not plan.is_metered:
            return
        span, now = int(seconds * 1e9), self.now
        with self._lock:
            calls = self._calls.setdefault(key, deque())
            while calls and calls[0] <= now - span:
                calls.popleft()
            if len(calls) >= allowed:
                raise replies.too_many_requests(max(1, math.ceil((calls[0] + span - now) / 1e9)))
            calls.append(now)


def _presented(request: Request) -> str:
    header = request.headers.get("authorization", "")
    if header[: len(_BEARER)].lower() == _BEARER:
        return header[len(_BEARER) :].strip()
    return request.query_params.get("apiKey", "").strip()
