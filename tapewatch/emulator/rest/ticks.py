"""/v3/trades and /v3/quotes: pages of a symbol's rows over any range of time, in either order."""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from tapewatch.emulator.vendor import replies, times
from tapewatch.emulator.vendor.requests import cursor_of, resumed
from tapewatch.market.instruments import Market

DEFAULT_LIMIT = 1000
MAX_LIMIT = 50_000

Days = Callable[[dt.date], pl.DataFrame]


@dataclass(frozen=True, slots=True)
class Ask:
    """What a page is asked for: `[low, high)` in ns UTC, `skip` rows of the day `since` already delivered."""

    low: int | None
    high: int | None
    is_descending: bool
    limit: int
    since: dt.date | None = None
    skip: int = 0

    @property
    def cursor(self) -> str:
        """The ask as an opaque text."""
        return cursor_of(
            {
                "limit": self.limit,
                "order": "desc" if self.is_descending else "asc",
                "low": self.low,
                "high": self.high,
                "since": self.since,
                "skip": self.skip,
            }
        )


def ask_of(query: Mapping[str, str], market: Market) -> Ask:
    """The ask of a request's parameters, or of its cursor.

    Raises:
        Refusal: 400 where a parameter makes no sense.
    """
    if query.get("cursor"):
        return _continued(resumed(query))
    low, high = times.bounds(query, market)
    order = (query.get("order") or "desc").lower()
    if order not in {"asc", "desc"}:
        raise replies.bad_request(f"order: {order!r} is neither asc nor desc")
    return Ask(low, high, order == "desc", limit_of(query, DEFAULT_LIMIT))


def limit_of(query: Mapping[str, str], default: int, most: int = MAX_LIMIT) -> int:
    """The page size asked for.

    Raises:
        Refusal: 400 where it is no number from 1 to `most`.
    """
    text = query.get("limit") or str(default)
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise replies.bad_request(f"limit: {text!r} is not a number from 1 to {most}")
    return int(text)


def page(ask: Ask, days: Iterator[dt.date], rows_of: Days, nothing: pl.DataFrame) -> tuple[pl.DataFrame, Ask | None]:
    """One page, and the ask for the next one, None where nothing is left.

    Args:
        ask: with both bounds set.
        days: the days to look at, in the order asked for, from `ask.since` on.
        rows_of: a day's rows, ascending by `time`.
        nothing: the page where there are no rows.
    """
    parts = [nothing]
    missing = ask.limit
    for day in days:
        rows = _within(rows_of(day), ask)
        skip = ask.skip if day == ask.since else 0
        left = rows.height - skip
        if left <= 0:
            continue
        if missing == 0:
            return pl.concat(parts), replace(ask, since=day, skip=0)
        taken = min(missing, left)
        first = rows.height - skip - taken if ask.is_descending else skip
        part = rows.slice(first, taken)
        parts.append(part.reverse() if ask.is_descending else part)
        missing -= taken
        if taken < left:
            return pl.concat(parts), replace(ask, since=day, skip=skip + taken)
    return pl.concat(parts), None


def _within(rows: pl.DataFrame, ask: Ask) -> pl.DataFrame:
    if rows.is_empty() or ask.low is None or ask.high is None:
        return rows
    ns = rows["time"].to_physical().to_numpy()
    first, last = np.searchsorted(ns, [ask.low, ask.high])
    return rows.slice(int(first), int(last - first))


def _continued(fields: Mapping[str, str]) -> Ask:
    try:
        return Ask(
            int(fields["low"]),
            int(fields["high"]),
            fields["order"] == "desc",
            int(fields["limit"]),
            dt.date.fromisoformat(fields["since"]),
            int(fields["skip"]),
        )
    except (ValueError, KeyError):
        raise replies.bad_request("cursor: not one of this endpoint's") from None
