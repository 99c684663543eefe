"""When a market is collected: always, or around its sessions."""

import datetime as dt
from dataclasses import dataclass

from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Market, session_of

MARGIN_NS = 5 * NS_PER_MINUTE
#: The longest time that an exchange stayed closed in living memory is a week.
_DAYS_AHEAD = 15
#: A machine whose clock is corrected while it sleeps wakes no later than this.
LONGEST_SLEEP_S = 60.0


@dataclass(frozen=True, slots=True)
class CollectingHours:
    """A stretch of time to be connected, int64 ns UTC, half-open."""

    start_ns: int
    end_ns: int

    def hold(self, now_ns: int) -> bool:
        """Whether it is time to be connected."""
        return self.start_ns <= now_ns < self.end_ns


def next_hours(market: Market, now_ns: int, *, delay_ns: int = 0, margin_ns: int = MARGIN_NS) -> CollectingHours:
    """The hours of collecting that hold at `now_ns`, else the next ones.

    From a margin before the extended hours to as much after them; a delayed tape ends so much later. Hours that touch
    are one: forex is connected from Sunday evening to Friday evening.

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
        start, end = session.extended_start - margin_ns, session.extended_end + delay_ns + margin_ns
        if current is not None and start <= current.end_ns:
            current = CollectingHours(current.start_ns, max(end, current.end_ns))
        elif current is not None and now_ns < current.end_ns:
            return current
        else:
            current = CollectingHours(start, end)
    if current is None or now_ns >= current.end_ns:
        raise ValueError(f"{market} does not trade within {_DAYS_AHEAD} days of {today}")
    return current
