"""Markets, the spellings of their tickers, and their trading hours."""

import datetime as dt
import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Self
from zoneinfo import ZoneInfo

from tapewatch.market import cme

if TYPE_CHECKING:
    import exchange_calendars

NEW_YORK = ZoneInfo("America/New_York")
UTC = ZoneInfo("UTC")
NS_PER_SECOND = 1_000_000_000
NS_PER_MINUTE = 60 * NS_PER_SECOND

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_FIRST_SESSION = "1990-01-02"
_PRE_MARKET_OPEN = dt.time(4)
_POST_MARKET_CLOSE = dt.time(20)
_HALF_DAY_POST_MARKET_CLOSE = dt.time(17)
#: Options on broad indices trade this much longer than stocks, and their indices are published as long.
_AFTER_STOCKS_NS = 15 * NS_PER_MINUTE
_EVENING_BEFORE = dt.timedelta(hours=6)
# Longest first, so that USDT is not read as the currency "SDT" behind a base that ends in U.
_QUOTE_CURRENCIES = ("USDT", "USDC", "USD", "EUR", "GBP", "JPY", "BTC", "ETH", "CHF", "AUD", "CAD", "NZD")


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
_TICKER_PREFIX = {Market.CRYPTO: "X:", Market.FOREX: "C:", Market.INDICES: "I:", Market.OPTIONS: "O:"}
_PAIRED = (Market.CRYPTO, Market.FOREX)
_NEW_YORK_CALENDAR = "XNYS"


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
    for market, prefix in _TICKER_PREFIX.items():
        if symbol.startswith(prefix):
            return market
    return Market.STOCKS


def from_vendor(ticker: str, market: Market) -> str:
    """This platform's symbol for a ticker of any of the vendor's channels.

    Symbols are spelt as in flat files. REST joins a pair (`X:BTCUSD`), the WebSocket drops the prefix (`BTC-USD`, `EUR/USD`).

    Raises:
        ValueError: the ticker is empty, or a joined pair ends in no known quote currency.
    """
    ticker = ticker.strip()
    if not ticker:
        raise ValueError(f"an empty ticker is no {market} symbol")
    # Stocks may have mixed case: BACpL is a preferred share.
    if market is not Market.STOCKS or ticker.islower():
        ticker = ticker.upper()
    prefix = _TICKER_PREFIX.get(market, "")
    bare = ticker.removeprefix(prefix)
    if market not in _PAIRED:
        return prefix + bare
    if "-" in bare or "/" in bare:
        return prefix + bare.replace("/", "-")
    if market is Market.FOREX and re.fullmatch("[A-Z]{6}", bare):
        return f"{prefix}{bare[:3]}-{bare[3:]}"
    for quote in _QUOTE_CURRENCIES:
        if bare.endswith(quote) and len(bare) > len(quote):
            return f"{prefix}{bare.removesuffix(quote)}-{quote}"
    raise ValueError(f"{ticker!r} ends in no known quote currency: write it as a pair, {prefix}BASE-QUOTE")


_SPELLINGS: Final = {
    Market.STOCKS: (re.compile(r"[A-Z][A-Za-z0-9]*(?:[.\-/][A-Za-z0-9]+)*"), "AAPL, BRK.B"),
    Market.CRYPTO: (re.compile(r"X:[A-Z0-9]+-[A-Z0-9]+"), "X:BTC-USD, BTC-USD, X:BTCUSD"),
    Market.FOREX: (re.compile(r"C:[A-Z]{3}-[A-Z]{3}"), "C:EUR-USD, EUR/USD, C:EURUSD"),
    Market.INDICES: (re.compile(r"I:[A-Z0-9][A-Z0-9.:_]*"), "I:SPX, SPX"),
    Market.OPTIONS: (re.compile(r"O:[A-Z][A-Z0-9.]{0,5}\d{6}[CP]\d{8}"), "O:SPY251219C00650000"),
    Market.FUTURES: (re.compile(r"[A-Z0-9]{1,4}[FGHJKMNQUVXZ]\d{1,2}(?:[-:][A-Z0-9]+)*"), "ESZ5, GCM26"),
}
_LIKE_A_FUTURE: Final = re.compile(r"[A-Z0-9]{1,3}[FGHJKMNQUVXZ]\d{1,2}")


def is_like_a_future(symbol: str) -> bool:
    """Whether a bare symbol has the form of a futures contract, product, month and year: ESZ5."""
    return _LIKE_A_FUTURE.fullmatch(symbol) is not None


class SymbolError(ValueError):
    """A ticker is not a ticker of its market; the message shows the spelling."""


def normalise(ticker: str, market: Market) -> str:
    """This platform's symbol for a ticker that a person wrote, in any of the vendor's spellings.

    Raises:
        SymbolError: the ticker is empty, belongs to another market, or has no form of this one.
    """
    written = ticker.strip()
    other = next((m for m, prefix in _TICKER_PREFIX.items() if written.upper().startswith(prefix)), None)
    if other not in (None, market):
        raise SymbolError(f"{written} is a ticker of {other}, not of {market}: use --market {other}")
    pattern, examples = _SPELLINGS[market]
    try:
        symbol = from_vendor(written, market)
    except ValueError as error:
        raise SymbolError(f"{error} (as in {examples})") from error
    if not pattern.fullmatch(symbol):
        raise SymbolError(f"{written!r} is no ticker of {market}: write it as {examples}")
    if market is Market.STOCKS and is_like_a_future(symbol):
        raise SymbolError(f"{written} is a futures contract, not a stock: use --market futures")
    return symbol


def spellings(ticker: str) -> list[str]:
    """This platform's symbols for a ticker whose market is not known, one for each market that has such tickers.

    Raises:
        SymbolError: it is a ticker of no market.
    """
    found, refusals = [], []
    for market in Market:
        try:
            found.append(normalise(ticker, market))
        except SymbolError as error:
            refusals.append(error)
    if not found:
        raise SymbolError(
            f"{ticker!r} is a ticker of no market: write it as AAPL, X:BTC-USD, C:EUR-USD, I:SPX or ESZ5"
        ) from refusals[0]
    return found


def to_rest(symbol: str) -> str:
    """The REST spelling of a symbol in bars and reference data, `X:BTCUSD`; trades and quotes use that of flat files."""
    return symbol.replace("-", "") if market_of(symbol) in _PAIRED else symbol


def to_websocket(symbol: str) -> str:
    """The vendor's WebSocket spelling of a symbol: `X:BTC-USD` becomes `BTC-USD`, `C:EUR-USD` becomes `EUR/USD`."""
    market = market_of(symbol)
    if market is Market.CRYPTO:
        return symbol.removeprefix("X:")
    if market is Market.FOREX:
        return symbol.removeprefix("C:").replace("-", "/")
    return symbol


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


@lru_cache(maxsize=4)
def _calendar(name: str) -> "exchange_calendars.ExchangeCalendar":
    import exchange_calendars  # noqa: PLC0415 - with pandas half a second, which not every command needs

    return exchange_calendars.get_calendar(name, start=_FIRST_SESSION)


def _ns(date: dt.date, time: dt.time, zone: dt.tzinfo) -> int:
    return (dt.datetime.combine(date, time, zone) - _EPOCH) // dt.timedelta(microseconds=1) * 1_000


@lru_cache(maxsize=4096)
def session_of(market: Market, date: dt.date) -> Session | None:
    """The hours of `market` on `date`, or None where it does not trade that day.

    Stocks, options and indices follow the New York Stock Exchange (exchange_calendars), futures the CME (`cme`); crypto never
    closes; forex closes from Friday 17:00 to Sunday 17:00 New York time, and its days are UTC days. `day_*` and `extended_*` are
    as long as the market's longest product trades; `hours.expected_minutes` has the hours of each symbol.

    Raises:
        CalendarError: the day is before 1990 or more than about a year ahead.
    """
    next_day = date + dt.timedelta(days=1)
    if market in _PAIRED:
        start, end = _ns(date, dt.time(), dt.UTC), _ns(next_day, dt.time(), dt.UTC)
        open_, close = (start, end) if market is Market.CRYPTO else _forex_hours(date, start, end)
        if open_ >= close:
            return None
        return Session(market, date, start, end, open_, close, open_, close)
    calendar = _calendar(_NEW_YORK_CALENDAR)
    import pandas as pd  # noqa: PLC0415 - as above

    label = pd.Timestamp(date)
    if not calendar.first_session <= label <= calendar.last_session:
        known = f"{calendar.first_session:%Y-%m-%d} to {calendar.last_session:%Y-%m-%d}"
        raise CalendarError(f"no trading calendar of {market} for {date}: sessions are known from {known}")
    if market is Market.FUTURES:
        return _futures_session(date)
    if not calendar.is_session(label):
        return None
    regular_start, regular_end = calendar.session_open(label).value, calendar.session_close(label).value
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
    return UTC if market in _PAIRED else NEW_YORK


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
