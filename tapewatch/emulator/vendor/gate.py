"""Who may ask for what, and how often: keys, plans, call rates, as the vendor keeps them.

A key says what plan it is of: `starter-…` (or `starter` alone) has the rights and the call rate of the plan
starter, likewise `basic`, `developer` and `advanced`; any other key has the plan advanced. The plans themselves are those of
`feeds/plans.toml`.

The one departure from the vendor: it keeps no crypto quotes, the emulator serves them at /v3/quotes to every plan that
has crypto trades, so that a synthetic market can be watched whole without a stream.
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
    """The plan that a key is of."""
    head, _, _ = key.partition("-")
    return head.lower() if head.lower() in TIERS else _DEFAULT_TIER


class Gate:
    """Checks every request.

    Args:
        key: the one key accepted; None accepts any that is not empty.
        clock: the present, in ns UTC.
        plans: a table of plans, in place of `feeds/plans.toml`.
    """

    def __init__(self, key: str | None = None, clock: Clock = time.time_ns, *, plans: Path | None = None) -> None:
        self._key = key
        self._clock = clock
        self._plans = plans
        self._calls: dict[str, deque[int]] = {}
        self._lock = threading.Lock()

    @property
    def now(self) -> int:
        """The present, in ns UTC."""
        return self._clock()

    def admit(self, request: Request) -> str:
        """The request's key, its call counted.

        Raises:
            Refusal: 401 without a key or with a wrong one.
        """
        key = _presented(request)
        if not key:
            raise replies.missing_key()
        if self._key is not None and not hmac.compare_digest(key.encode(), self._key.encode()):
            raise replies.unknown_key()
        self._count(key)
        return key

    def accepts(self, key: str) -> bool:
        """Whether a stream may be opened with a key."""
        return bool(key) and (self._key is None or hmac.compare_digest(key.encode(), self._key.encode()))

    def channels(self, key: str, market: Market) -> tuple[str, ...]:
        """The channels of a market's stream that the key's plan grants."""
        return self._plan(key, market).plan.websocket

    def stream_delay_ns(self, key: str, market: Market) -> int:
        """How far behind the present the key's plan streams a market."""
        return int(self._plan(key, market).stream_recency.delay.total_seconds() * 1e9)

    def window(
        self, key: str, market: Market, table: TapeTable, low: int | None, high: int | None
    ) -> tuple[int | None, int]:
        """The part of `[low, high)` (ns UTC, None open) that the key's plan shows of a market's table at present.

        Raises:
            Refusal: 403 where the plan lacks the table, or reaches no part of the time.
        """
        plan = self._plan(key, market)
        if not _grants(plan, table):
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


def _grants(plan: MarketPlan, table: TapeTable) -> bool:
    if plan.market is Market.CRYPTO and table is TapeTable.QUOTES:
        return plan.grants(TapeTable.TRADES)
    return plan.grants(table)
