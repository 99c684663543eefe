"""The hours of a session in which rules are judged."""

import datetime as dt
import math

from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Market, Session, known_session
from tapewatch.streaming.detection.rules.settings import Common
from tapewatch.streaming.detection.rules.state import JudgedHours

_DAY = 1440 * NS_PER_MINUTE


def is_round_the_clock(market: Market) -> bool:
    """Whether a market trades without auctions at the open and the close."""
    return market in (Market.CRYPTO, Market.FOREX)


def next_start(market: Market, now: int) -> int:
    """Start of the next session's day; one day from now where the calendars have none."""
    day = dt.datetime.fromtimestamp(now // NS_PER_SECOND, dt.UTC).date()
    for offset in range(-1, 12):
        session = known_session(market, day + dt.timedelta(days=offset))
        if session is not None and session.day_start > now:
            return session.day_start
    return now + _DAY


def usual_minutes(market: Market) -> float:
    """Approximate minutes of a full session: 1,440 around the clock, 390 otherwise."""
    return 1440.0 if is_round_the_clock(market) else 390.0


def day_per_minute(minutes: float) -> float:
    """Standard deviation of a session's move per mean absolute move of a minute, for a random walk of `minutes` minutes."""
    return 1.25 * math.sqrt(minutes)


def judged_hours(market: Market, session: Session | None, common: Common) -> JudgedHours:
    """The hours in which rules are judged, without the minutes around the auctions; empty without a session."""
    if session is None:
        return JudgedHours(0, 0, 0, 0)
    start, end = session.regular_start, session.regular_end
    if not is_round_the_clock(market):
        is_extended = common.hours == "extended"
        start, end = (session.extended_start, session.extended_end) if is_extended else (start, end)
        start += int(common.after_open_minutes * NS_PER_MINUTE)
        end -= int(common.before_close_minutes * NS_PER_MINUTE)
    return JudgedHours(start, end, session.regular_start, session.regular_end)
