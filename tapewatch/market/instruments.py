"""Markets, partitions, and trading hours."""

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Self
from zoneinfo import ZoneInfo

from tapewatch.market import cme, new_york

NEW_YORK = ZoneInfo("America/New_York")
UTC = ZoneInfo("UTC")
NS_PER_SECOND = 1_000_000_000
NS_PER_MINUTE = 60 * NS_PER_SECOND

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_PRE_MARKET_OPEN = dt.time(4)
_POST_MARKET_CLOSE = dt.time(20)
_HALF_DAY_POST_MARKET_CLOSE = dt.time(17)
#: Options on broad indices trade this much longer than stocks, and their indices are published as long.
_AFTER_STOCKS_NS = 15 * NS_PER_MINUTE
_EVENING_BEFORE = dt.timedelta(hours=6)


class Market(StrEnum):
    """An asset class of the vendor: one stream cluster, one price list, one partition of the lake per day."""

    STOCKS = "stocks"
    CRYPTO = "crypto"
    FOREX = "forex"
    INDICES = "indices"
    OPTIONS = "options"
    FUTURES = "futures"

    @property
    def flat_file_folders(self) -> tuple[str, ...]:
        """The top folders of this market in the vendor's bucket: one, or one a venue."""
        return _FLAT_FILE_FOLDERS[self]

    @property
    def is_continuous(self) -> bool:
        """True where the market never closes and a day is a UTC day."""
        return self is Market.CRYPTO


_FLAT_FILE_FOLDERS = {
    Market.STOCKS: ("us_stocks_sip",),
    Market.CRYPTO: ("global_crypto",),
    Market.FOREX: ("global_forex",),
    Market.INDICES: ("us_indices",),
    Market.OPTIONS: ("us_options_opra",),
    Market.FUTURES: ("us_futures_cbot", "us_futures_cme", "us_futures_comex", "us_futures_nymex"),
}
#: What the tickers of a market begin with; none for stocks and futures.
TICKER_PREFIX = {Market.CRYPTO: "X:", Market.FOREX: "C:", Market.INDICES: "I:", Market.OPTIONS: "O:"}
#: Markets whose symbols are pairs, and whose days are UTC days.
PAIRED = (Market.CRYPTO, Market.FOREX)


class CalendarError(ValueError):
    """A day is outside the exchange calendars."""


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """One market's day."""

    date: dt.date
    market: Market

    @classmethod
    def parse(cls, key: str) -> Self:
        """A partition from its key, `2013-10-07|stocks`."""
        date, _, market = key.partition("|")
        return cls(dt.date.fromisoformat(date), Market(market))

    @property
    def session(self) -> "Session":
        """The hours of this market day.

        Raises:
            ValueError: the market does not trade that day.
        """
        session = session_of(self.market, self.date)
        if session is None:
            raise ValueError(f"{self.date} is no trading day for {self.market} ({self.date:%A})")
        return session

    def __str__(self) -> str:
        return f"{self.date}|{self.market}"


def market_of(symbol: str) -> Market:
    """The market of a symbol in this platform's spelling (`AAPL`, `X:BTC-USD`, `C:EUR-USD`, `I:SPX`, `O:…`).

    Futures have no prefix and look like stocks: a bare ticker is a stock.
    """
    for market, prefix in TICKER_PREFIX.items():
        if symbol.startswith(prefix):
            return market
    return Market.STOCKS


@dataclass(frozen=True, slots=True)
class Session:
    """One market day. All bounds are int64 nanoseconds UTC, half-open: start included, end excluded.

    `day_*` bound all rows of the day; `extended_*` the hours in which the market is collected; `regular_*` the hours of the
    daily bar. All three are the same in a continuous market.
    """

    market: Market
    date: dt.date
    day_start: int
    day_end: int
    extended_start: int
    extended_end: int
    regular_start: int
    regular_end: int

    @property
    def regular_minutes(self) -> int:
        """Minutes of the regular session: 390 on a full New York day, 210 on a half day, 1,440 for crypto."""
        return (self.regular_end - self.regular_start) // NS_PER_MINUTE


def _ns(date: dt.date, time: dt.time, zone: dt.tzinfo) -> int:
    return (dt.datetime.combine(date, time, zone) - _EPOCH) // dt.timedelta(microseconds=1) * 1_000


@lru_cache(maxsize=4096)
def session_of(market: Market, date: dt.date) -> Session | None:
    """The hours of `market` on `date`, or None where it does not trade that day.

    Stocks, options and indices follow the New York Stock Exchange (`new_york`), futures the CME (`cme`); crypto never
    closes; forex closes from Friday 17:00 to Sunday 17:00 New York time, and its days are UTC days. `day_*` and `extended_*` are
    as long as the market's longest product trades; `hours.expected_minutes` has the hours of each symbol.

    Raises:
        CalendarError: the day is before 1990 or more than about a year ahead.
    """
    next_day = date + dt.timedelta(days=1)
    if market in PAIRED:
        start, end = _ns(date, dt.time(), dt.UTC), _ns(next_day, dt.time(), dt.UTC)
        open_, close = (start, end) if market is Market.CRYPTO else _forex_hours(date, start, end)
        if open_ >= close:
            return None
        return Session(market, date, start, end, open_, close, open_, close)
    sessions = new_york.sessions()
    last = next(reversed(sessions))
    if not new_york.FIRST <= date <= last:
        known = f"{new_york.FIRST} to {last}"
        raise CalendarError(f"no trading calendar of {market} for {date}: sessions are known from {known}")
    if market is Market.FUTURES:
        return _futures_session(date)
    if date not in sessions:
        return None
    regular_start, regular_end = sessions[date]
    day_start, day_end = _ns(date, dt.time(), NEW_YORK), _ns(next_day, dt.time(), NEW_YORK)
    if market is not Market.STOCKS:
        longest = regular_end + _AFTER_STOCKS_NS
        return Session(market, date, day_start, day_end, regular_start, longest, regular_start, regular_end)
    is_half_day = regular_end - regular_start < 6 * 60 * NS_PER_MINUTE
    post_close = _HALF_DAY_POST_MARKET_CLOSE if is_half_day else _POST_MARKET_CLOSE
    pre_open = _ns(date, _PRE_MARKET_OPEN, NEW_YORK)
    extended_end = _ns(date, post_close, NEW_YORK)
    return Session(market, date, day_start, day_end, pre_open, extended_end, regular_start, regular_end)


def _futures_session(date: dt.date) -> Session | None:
    """From 17:00 to 17:00 Chicago time, whatever closes early: a product may trade longer than its published hours say."""
    if not cme.is_open(date):
        return None
    start = _ns(date - dt.timedelta(days=1), cme.DAY_BEGINS, cme.CHICAGO)
    end = _ns(date, cme.DAY_BEGINS, cme.CHICAGO)
    closes = _ns(date, cme.hours_of(cme.Product.OTHER, date)[-1][1], cme.CHICAGO)
    return Session(Market.FUTURES, date, start, end, start, end, start, closes)


def _forex_hours(date: dt.date, start: int, end: int) -> tuple[int, int]:
    five_pm = _ns(date, dt.time(17), NEW_YORK)
    match date.isoweekday():
        case 5:
            return start, five_pm
        case 6:
            return start, start
        case 7:
            return five_pm, end
        case _:
            return start, end


def zone_of(market: Market) -> ZoneInfo:
    """The zone of a market's dates: UTC for pairs, New York for the others."""
    return UTC if market in PAIRED else NEW_YORK


def day_of(market: Market, time: dt.datetime | int) -> dt.date:
    """The market's day that holds a time, whether or not the market is open then.

    Pairs have UTC days. The others have New York's, but a futures day begins at 18:00 of the evening before.

    Args:
        market: the market.
        time: with a time zone, or int64 nanoseconds UTC.
    """
    zone = zone_of(market)
    local = time.astimezone(zone) if isinstance(time, dt.datetime) else dt.datetime.fromtimestamp(time // 10**9, zone)
    return (local + _EVENING_BEFORE if market is Market.FUTURES else local).date()


def known_session(market: Market, date: dt.date) -> Session | None:
    """`session_of`, but None beyond the calendars."""
    try:
        return session_of(market, date)
    except CalendarError:
        return None


def session_at(market: Market, ns: int) -> Session | None:
    """The session whose day holds a time (ns UTC); None where the market has none then, and beyond the calendars."""
    session = known_session(market, day_of(market, ns))
    return session if session is not None and session.day_start <= ns < session.day_end else None


def trading_days(market: Market, first: dt.date, last: dt.date) -> list[dt.date]:
    """The days from `first` to `last`, both included, on which `market` trades.

    Raises:
        ValueError: `last` lies before `first`.
    """
    if last < first:
        raise ValueError(f"the range ends before it begins: {first} … {last}")
    days = (first + dt.timedelta(days=offset) for offset in range((last - first).days + 1))
    return [day for day in days if session_of(market, day) is not None]
