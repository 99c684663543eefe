"""Times in requests: nanoseconds, milliseconds or dates in the market's time zone; and the days that they span."""

import datetime as dt
from collections.abc import Iterator, Mapping

from tapewatch.emulator.vendor import replies
from tapewatch.market.instruments import Market, day_of, zone_of

_NS_PER_MS = 1_000_000
# The day of futures begins at 18:00 on the previous evening.
_EVENING = {Market.FUTURES: 6 * 3600 * 1_000_000_000}
# The year 2200: int64 nanoseconds overflow soon after.
_LATEST_MS = 7_258_118_400_000


def day_start(date: dt.date, market: Market) -> int:
    """The start of a market's day, in ns UTC."""
    day = int(dt.datetime.combine(date, dt.time(), zone_of(market)).timestamp()) * 1_000_000_000
    return day - _EVENING.get(market, 0)


def date_of(ns: int, market: Market) -> dt.date:
    """The market's day that holds a time in ns UTC."""
    return day_of(market, ns)


def days(
    low: int, high: int, market: Market, *, is_descending: bool, since: dt.date | None = None
) -> Iterator[dt.date]:
    """The calendar days that `[low, high)` touches, in the requested order, from `since` on if it is given."""
    first, last = date_of(low, market), date_of(max(high - 1, low), market)
    if since is not None:
        first, last = (first, min(last, since)) if is_descending else (max(first, since), last)
    count = (last - first).days + 1
    for offset in range(count):
        yield last - dt.timedelta(days=offset) if is_descending else first + dt.timedelta(days=offset)


def date_in(text: str) -> dt.date:
    """A parameter's date.

    Raises:
        Refusal: 400 if the text is no date.
    """
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise replies.bad_request(f"date: {text!r} is not YYYY-MM-DD") from None


def time_span(text: str, market: Market, name: str) -> tuple[int, int]:
    """The half-open range, in ns UTC, of a parameter: a whole day for a date, one nanosecond for a timestamp.

    Raises:
        Refusal: 400 if the text is neither.
    """
    if text.isdecimal():
        return int(text), int(text) + 1
    try:
        if len(text) == len("2024-01-31"):
            date = dt.date.fromisoformat(text)
            return day_start(date, market), day_start(date + dt.timedelta(days=1), market)
        instant = dt.datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise replies.bad_request(f"{name}: {text!r} is neither YYYY-MM-DD nor a timestamp in nanoseconds") from None
    instant = instant if instant.tzinfo else instant.replace(tzinfo=zone_of(market))
    ns = int(instant.timestamp() * 1_000_000) * 1000
    return ns, ns + 1


def bounds(query: Mapping[str, str], market: Market) -> tuple[int | None, int | None]:
    """The half-open range, in ns UTC, that `timestamp` and `timestamp.{gt,gte,lt,lte}` select; None is open.

    A date means its whole day: `timestamp.gt` begins after it, `timestamp.lte` ends with it.
    """
    low: int | None = None
    high: int | None = None
    # For each parameter, which end of its span bounds the range from below and from above.
    for name, begin, end in (("", 0, 1), (".gte", 0, None), (".gt", 1, None), (".lt", None, 0), (".lte", None, 1)):
        if text := query.get(f"timestamp{name}", ""):
            span = time_span(text, market, f"timestamp{name}")
            low = low if begin is None else span[begin] if low is None else max(low, span[begin])
            high = high if end is None else span[end] if high is None else min(high, span[end])
    return low, high


def window_edges(start: str, end: str, market: Market) -> tuple[int, int]:
    """The half-open range, in ns UTC, of a request for aggregates: each edge is a date or Unix milliseconds, inclusive."""
    return _edge(start, market, "from")[0], _edge(end, market, "to")[1]


def _edge(text: str, market: Market, name: str) -> tuple[int, int]:
    if text.isdecimal() and int(text) < _LATEST_MS:
        ms = int(text)
        return ms * _NS_PER_MS, (ms + 1) * _NS_PER_MS
    try:
        date = dt.date.fromisoformat(text)
        return day_start(date, market), day_start(date + dt.timedelta(days=1), market)
    except (ValueError, OverflowError):
        message = f"Could not parse the time parameter: '{name}'. Use YYYY-MM-DD or Unix MS Timestamps"
        raise replies.bad_request(message) from None
