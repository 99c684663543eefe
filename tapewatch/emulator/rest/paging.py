"""Pages of a symbol's rows over any range of time, in either order, and their cursors."""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import polars as pl

from tapewatch.emulator.rest.requests import cursor_of, resumed
from tapewatch.emulator.tape.windows import rows_between
from tapewatch.emulator.vendor import replies, times
from tapewatch.market.instruments import Market, session_of

DEFAULT_LIMIT = 1000
MAX_LIMIT = 50_000

RowsOfDay = Callable[[dt.date], pl.DataFrame]


@dataclass(frozen=True, slots=True)
class PageRequest:
    """The rows that a page is requested from: `[low, high)` in ns UTC, less the first `skip` rows of the day `since`."""

    low: int | None
    high: int | None
    is_descending: bool
    limit: int
    since: dt.date | None = None
    skip: int = 0

    @property
    def cursor(self) -> str:
        order = "desc" if self.is_descending else "asc"
        bounds = {"low": self.low, "high": self.high, "since": self.since, "skip": self.skip}
        return cursor_of({"limit": self.limit, "order": order} | bounds)

    def days(self, market: Market) -> Iterator[dt.date]:
        """The trading days left to read, in the requested order. Both bounds must be set."""
        low, high = self.low or 0, self.high or 0
        if high > low:
            days = times.days(low, high, market, is_descending=self.is_descending, since=self.since)
            yield from (day for day in days if session_of(market, day) is not None)


def page_request(query: Mapping[str, str], market: Market) -> PageRequest:
    """The page that a request's parameters, or its cursor, describe.

    Raises:
        Refusal: 400 for a parameter that makes no sense.
    """
    if query.get("cursor"):
        return _continued(resumed(query))
    low, high = times.bounds(query, market)
    order = (query.get("order") or "desc").lower()
    if order not in {"asc", "desc"}:
        raise replies.bad_request(f"order: {order!r} is neither asc nor desc")
    return PageRequest(low, high, order == "desc", limit_of(query, DEFAULT_LIMIT))


def limit_of(query: Mapping[str, str], default: int, most: int = MAX_LIMIT) -> int:
    """The requested page size.

    Raises:
        Refusal: 400 unless it is a number from 1 to `most`.
    """
    text = query.get("limit") or str(default)
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise replies.bad_request(f"limit: {text!r} is not a number from 1 to {most}")
    return int(text)


def page(
    request: PageRequest, days: Iterator[dt.date], rows_of: RowsOfDay, nothing: pl.DataFrame
) -> tuple[pl.DataFrame, PageRequest | None]:
    """One page, and the request for the next one (None if no rows are left).

    Args:
        request: with both bounds set.
        days: the days to read, in the requested order, from `request.since` on.
        rows_of: a day's rows, ascending by `time`.
        nothing: the page without rows.
    """
    parts = [nothing]
    missing = request.limit
    for day in days:
        rows = rows_of(day)
        if request.low is not None and request.high is not None:
            rows = rows_between(rows, request.low, request.high)
        skip = request.skip if day == request.since else 0
        left = rows.height - skip
        if left <= 0:
            continue
        if missing == 0:
            return pl.concat(parts), replace(request, since=day, skip=0)
        taken = min(missing, left)
        first = rows.height - skip - taken if request.is_descending else skip
        part = rows.slice(first, taken)
        parts.append(part.reverse() if request.is_descending else part)
        missing -= taken
        if taken < left:
            return pl.concat(parts), replace(request, since=day, skip=skip + taken)
    return pl.concat(parts), None


def _continued(fields: Mapping[str, str]) -> PageRequest:
    try:
        return PageRequest(
            int(fields["low"]),
            int(fields["high"]),
            fields["order"] == "desc",
            int(fields["limit"]),
            dt.date.fromisoformat(fields["since"]),
            int(fields["skip"]),
        )
    except (ValueError, KeyError):
        raise replies.bad_request("cursor: not one of this endpoint's") from None
