"""The hours of a session in which rules are judged."""

import datetime as dt

from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Market, Session, known_session
from tapewatch.streaming.detection.rules.settings import Common
from tapewatch.streaming.detection.rules.state import Hours

_DAY = 1440 * NS_PER_MINUTE


def is_round_the_clock(market: Market) -> bool:
    """Markets without auctions at the day's ends."""
    return market in (Market.CRYPTO, Market.FOREX)


def next_start(market: Market, now: int) -> int:
    """Where the next session's day begins; a day later where the calendars know none."""
    day = dt.datetime.fromtimestamp(now // NS_PER_SECOND, dt.UTC).date()
    for offset in range(-1, 12):
        session = known_session(market, day + dt.timedelta(days=offset))
        if session is not None and session.day_start > now:
            return session.day_start
    return now + _DAY


def usual_minutes(market: Market) -> float:
    """Minutes of a whole session, roughly: a day, or New York's hours."""
    return 1440.0 if is_round_the_clock(market) else 390.0


def judged_hours(market: Market, session: Session | None, common: Common) -> Hours:
    """The hours of a session in which rules are judged, without the edges that auctions leave; none without a session."""
    if session is None:
        return Hours(0, 0, 0, 0, 0)
    start, end = session.regular_start, session.regular_end
    if not is_round_the_clock(market):
        is_extended = common.hours == "extended"
        start, end = (session.extended_start, session.extended_end) if is_extended else (start, end)
        start += int(common.after_open_minutes * NS_PER_MINUTE)
        end -= int(common.before_close_minutes * NS_PER_MINUTE)
    return Hours(start, end, session.regular_start, session.regular_start, session.regular_end)
