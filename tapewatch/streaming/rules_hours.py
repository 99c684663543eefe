"""Which session of a market a moment belongs to.

Belongs here: sessions by time. Not here: what hours a market keeps (`market.instruments`).
"""

import datetime as dt

from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, CalendarError, Market, Session, session_of

_DAY = 1440 * NS_PER_MINUTE


def is_round_the_clock(market: Market) -> bool:
    """Markets without auctions at the day's ends."""
    return market in (Market.CRYPTO, Market.FOREX)


def session_at(market: Market, now: int) -> Session | None:
    """The session whose day holds `now`; None on days without one, and beyond the calendars."""
    day = dt.datetime.fromtimestamp(now // NS_PER_SECOND, dt.UTC).date()
    for offset in (0, -1, 1):
        try:
            session = session_of(market, day + dt.timedelta(days=offset))
        except CalendarError:
            continue
        if session is not None and session.day_start <= now < session.day_end:
            return session
    return None


def next_start(market: Market, now: int) -> int:
    """Where the next session's day begins; a day later where the calendars know none."""
    day = dt.datetime.fromtimestamp(now // NS_PER_SECOND, dt.UTC).date()
    for offset in range(-1, 12):
        try:
            session = session_of(market, day + dt.timedelta(days=offset))
        except CalendarError:
            continue
        if session is not None and session.day_start > now:
            return session.day_start
    return now + _DAY


def usual_minutes(market: Market) -> float:
    """Minutes of a whole session, roughly: a day, or New York's hours."""
    return 1440.0 if is_round_the_clock(market) else 390.0
