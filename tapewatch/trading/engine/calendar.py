"""Sessions as arrays for the engine: when orders may be filled, and when orders for the day expire."""

import datetime as dt
from collections.abc import Sequence

import numpy as np

from tapewatch.market.arrays import Array
from tapewatch.market.instruments import Market, day_of, known_session
from tapewatch.trading.engine.records import NEVER, Calendar

_EPOCH = dt.date(1970, 1, 1)
#: A day's order outlives no holiday, however long.
_DAYS_AHEAD = 12


def calendar_of(markets: Sequence[Market], first: int, last: int, *, is_extended: bool) -> Calendar:
    """Sessions of each market from the day before `first` to some days after `last` (ns UTC)."""
    offsets, starts, ends, days = [0], [], [], []
    for market in markets:
        day = day_of(market, first) - dt.timedelta(days=1)
        stop = day_of(market, last) + dt.timedelta(days=_DAYS_AHEAD)
        while day <= stop:
            session = known_session(market, day)
            if session is not None:
                starts.append(session.extended_start if is_extended else session.regular_start)
                ends.append(session.extended_end if is_extended else session.regular_end)
                days.append((day - _EPOCH).days)
            day += dt.timedelta(days=1)
        offsets.append(len(starts))
    return Calendar(*(np.array(values, dtype=np.int64) for values in (offsets, starts, ends, days)))


def sessions_at(calendar: Calendar, clock: int) -> Array:
    """The last session of each market that began by `clock`; one before the market's first if none did."""
    found = [
        low + int(np.searchsorted(calendar.start[low:high], clock, side="right")) - 1
        for low, high in zip(calendar.offsets[:-1], calendar.offsets[1:], strict=True)
    ]
    return np.array(found, dtype=np.int64)


def session_ends(calendar: Calendar, market: int, times: Array) -> Array:
    """The end of the session in which a time lies, else of the next; `NEVER` beyond the calendar."""
    low, high = calendar.offsets[market], calendar.offsets[market + 1]
    ends = np.append(calendar.end[low:high], NEVER)
    return ends[np.searchsorted(calendar.end[low:high], times, side="right")]
