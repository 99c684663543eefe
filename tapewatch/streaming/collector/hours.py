"""When a market is collected around its sessions."""

import datetime as dt
from dataclasses import dataclass

from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Market, session_of

_MARGIN_NS = 5 * NS_PER_MINUTE
#: No exchange has closed for longer than a week within living memory.
_DAYS_AHEAD = 15
#: Longest single sleep, so that a corrected clock is noticed.
LONGEST_SLEEP_S = 60.0


@dataclass(frozen=True, slots=True)
class CollectingHours:
    """A time range in which the collector is connected, int64 ns UTC, half-open."""

    start_ns: int
    end_ns: int

    def contain(self, now_ns: int) -> bool:
        return self.start_ns <= now_ns < self.end_ns


def next_hours(market: Market, now_ns: int, *, delay_ns: int = 0) -> CollectingHours:
    """The hours of collecting that contain `now_ns`, else the next ones.

    They reach from five minutes before the extended hours to five minutes after them, and `delay_ns` longer for a delayed
    tape. Hours that touch are joined: forex is connected from Sunday evening to Friday evening.

    Raises:
        CalendarError: the trading calendar does not reach that far.
        ValueError: the market does not trade within a fortnight.
    """
    today = dt.datetime.fromtimestamp(now_ns // NS_PER_SECOND, dt.UTC).date()
    current: CollectingHours | None = None
    for offset in range(-2, _DAYS_AHEAD):
        session = session_of(market, today + dt.timedelta(days=offset))
        if session is None:
            continue
        start, end = session.extended_start - _MARGIN_NS, session.extended_end + delay_ns + _MARGIN_NS
        if current is not None and start <= current.end_ns:
            current = CollectingHours(current.start_ns, max(end, current.end_ns))
        elif current is not None and now_ns < current.end_ns:
            return current
        else:
            current = CollectingHours(start, end)
    if current is None or now_ns >= current.end_ns:
        raise ValueError(f"{market} does not trade within {_DAYS_AHEAD} days of {today}")
    return current
