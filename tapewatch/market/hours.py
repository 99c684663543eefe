"""The minutes of a market day in which rows of a symbol are expected, by the product that it belongs to."""

import datetime as dt
import re
from functools import lru_cache
from typing import Final

from tapewatch.market import cme
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Market, Session

#: Minutes after the regular open, half-open.
Minutes = tuple[int, int]

_UNDERLYING: Final = re.compile(r"O:([A-Z][A-Z.]*?)\d?\d{6}[CP]\d{8}")
#: Underlyings whose options trade until 16:15 New York time (Cboe and NYSE Arca: broad indices and the funds on them).
_LATE_INDICES: Final = "SPX SPXW XSP XSPW NDX NDXP XND RUT RUTW MRUT DJX VIX VIXW OEX XEO NANOS"
_LATE_FUNDS: Final = (
    "SPY QQQ IWM DIA MDY EEM EFA GLD SLV TLT USO UNG UVXY VXX SVXY DBC DBA DBB DBO FXE IWN IWO IWV XLE XLF"
)
_LATE_OPTIONS: Final = frozenset(f"{_LATE_INDICES} {_LATE_FUNDS}".split())
_LATE = "late"


def product_of(session: Session, symbol: str) -> str:
    """The group of a market's symbols that `symbol` shares its hours with; empty where the market has one group only."""
    if session.market is Market.FUTURES:
        return cme.product_of(symbol)
    if session.market is Market.OPTIONS:
        found = _UNDERLYING.fullmatch(symbol)
        return _LATE if found and found[1] in _LATE_OPTIONS else ""
    return ""


@lru_cache(maxsize=4096)
def expected_minutes(session: Session, product: str) -> tuple[Minutes, ...]:
    """The minutes in which a product of `product_of` trades on a day; empty where it is closed.

    Futures follow `cme.hours_of`, late options trade to 16:15 New York time (13:15 on half days), all others the regular session.
    """
    regular = session.regular_minutes
    if session.market is Market.FUTURES:
        hours = cme.hours_of(cme.Product(product), session.date)
        spans = ((_minute(session, start), _minute(session, end)) for start, end in hours)
        return tuple((start, min(end, regular)) for start, end in spans if start < regular)
    if product == _LATE:
        return ((0, (session.extended_end - session.regular_start) // NS_PER_MINUTE),)
    return ((0, regular),)


def _minute(session: Session, time: dt.time) -> int:
    evening = time >= cme.DAY_BEGINS
    moment = dt.datetime.combine(session.date - dt.timedelta(days=evening), time, cme.CHICAGO)
    return (int(moment.timestamp()) * NS_PER_SECOND - session.regular_start) // NS_PER_MINUTE
