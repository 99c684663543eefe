"""Tickers convert between spellings without loss; sessions follow local time."""

import datetime as dt
import re
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapewatch.market.instruments import (
    NS_PER_MINUTE,
    Market,
    Partition,
    Session,
    day_of,
    known_session,
    market_of,
    session_at,
    session_of,
    trading_days,
)
from tapewatch.market.tickers import SymbolError, from_vendor, normalise, to_rest, to_websocket

_NEW_YORK = ZoneInfo("America/New_York")
_BASES = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=2, max_size=6)
_QUOTES = st.sampled_from(["USD", "EUR", "GBP", "JPY", "USDT", "USDC", "BTC"])
_CLOSED = ((2024, 3, 9), (1970, 1, 5))
_DATES = st.dates(dt.date(1995, 1, 1), dt.date(2025, 12, 31))


def _wall(nanoseconds: int, zone: dt.tzinfo = _NEW_YORK) -> dt.datetime:
    return dt.datetime.fromtimestamp(nanoseconds // 10**9, zone)


def _session(market: Market, date: dt.date) -> Session:
    session = session_of(market, date)
    assert session is not None
    return session


@given(st.sampled_from([Market.CRYPTO, Market.FOREX]), _BASES, _QUOTES)
def test_pairs_survive_the_websocket(market: Market, base: str, quote: str) -> None:
    prefix = "X:" if market is Market.CRYPTO else "C:"
    symbol = f"{prefix}{base}-{quote}"
    assert market_of(symbol) is market
    assert from_vendor(symbol, market) == symbol
    assert from_vendor(to_websocket(symbol), market) == symbol
    assert from_vendor(to_websocket(symbol).lower(), market) == symbol


@given(
    st.sampled_from([Market.CRYPTO, Market.FOREX]),
    st.sampled_from(["BTC", "ETH", "SOL", "DOGE", "EUR", "GBP", "ADA"]),
    _QUOTES,
)
def test_pairs_survive_rest(market: Market, base: str, quote: str) -> None:
    symbol = f"{'X:' if market is Market.CRYPTO else 'C:'}{base}-{quote}"
    if base != quote:
        assert from_vendor(to_rest(symbol), market) == symbol


@given(st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ.", min_size=1, max_size=6).filter(lambda t: t.strip(".")))
def test_stocks_have_one_spelling(ticker: str) -> None:
    assert from_vendor(ticker, Market.STOCKS) == to_rest(ticker) == to_websocket(ticker) == ticker
    assert market_of(ticker) is Market.STOCKS


@pytest.mark.parametrize(
    ("ticker", "market", "symbol"),
    [
        ("X:BTCUSD", Market.CRYPTO, "X:BTC-USD"),
        ("BTC-USD", Market.CRYPTO, "X:BTC-USD"),
        ("X:BTCUSDT", Market.CRYPTO, "X:BTC-USDT"),
        ("eur/usd", Market.FOREX, "C:EUR-USD"),
        ("C:EURUSD", Market.FOREX, "C:EUR-USD"),
        ("SPX", Market.INDICES, "I:SPX"),
        ("O:SPY251219C00650000", Market.OPTIONS, "O:SPY251219C00650000"),
        (" brk.b ", Market.STOCKS, "BRK.B"),
        ("BACpL", Market.STOCKS, "BACpL"),
        ("C:USDMXN", Market.FOREX, "C:USD-MXN"),
        ("o:spy251219c00650000", Market.OPTIONS, "O:SPY251219C00650000"),
    ],
)
def test_spellings(ticker: str, market: Market, symbol: str) -> None:
    assert from_vendor(ticker, market) == symbol


@pytest.mark.parametrize(
    ("ticker", "market"),
    [("", Market.STOCKS), ("  ", Market.CRYPTO), ("X:ABCXYZ", Market.CRYPTO), ("USD", Market.FOREX)],
)
def test_an_unreadable_ticker_is_refused(ticker: str, market: Market) -> None:
    with pytest.raises(ValueError, match=r"empty ticker|no known quote currency"):
        from_vendor(ticker, market)


_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_SYMBOLS = {
    Market.STOCKS: st.from_regex(r"[A-Z]{1,5}(\.[A-Z])?", fullmatch=True),
    Market.CRYPTO: st.builds("X:{}-{}".format, st.sampled_from(["BTC", "ETH", "DOGE", "1INCH"]), _QUOTES).filter(
        lambda s: s != "X:BTC-BTC"
    ),
    Market.FOREX: st.builds("C:{}-{}".format, *[st.text(_LETTERS, min_size=3, max_size=3)] * 2),
    Market.INDICES: st.from_regex(r"I:[A-Z]{1,6}", fullmatch=True),
    Market.OPTIONS: st.from_regex(r"O:[A-Z]{1,5}1?2[5-9](0[1-9]|1[0-2])(0[1-9]|[12]\d)[CP]\d{8}", fullmatch=True),
    Market.FUTURES: st.from_regex(r"[A-Z]{1,3}[FGHJKMNQUVXZ]\d{1,2}", fullmatch=True),
}


@given(st.sampled_from(list(Market)).flatmap(lambda m: st.tuples(st.just(m), _SYMBOLS[m])))
def test_every_spelling_of_the_vendor_becomes_the_one_symbol(case: tuple[Market, str]) -> None:
    market, symbol = case
    for spelling in (symbol, to_rest(symbol), to_websocket(symbol), f" {symbol.lower()} "):
        assert normalise(spelling, market) == symbol
    bare = symbol.split(":", 1)[-1]
    assert normalise(bare, market) == symbol


@given(
    st.sampled_from([Market.CRYPTO, Market.FOREX, Market.INDICES, Market.OPTIONS]).flatmap(
        lambda m: st.tuples(st.just(m), _SYMBOLS[m], st.sampled_from([other for other in Market if other is not m]))
    )
)
def test_a_ticker_of_another_market_is_refused_with_the_way_out(case: tuple[Market, str, Market]) -> None:
    market, symbol, other = case
    with pytest.raises(SymbolError, match=f"--market {market}"):
        normalise(symbol, other)


@pytest.mark.parametrize(
    ("ticker", "market", "message"),
    [
        ("", Market.STOCKS, "an empty ticker"),
        ("A B", Market.STOCKS, "no ticker of stocks"),
        ("ESZ5", Market.STOCKS, "--market futures"),
        ("BTC", Market.CRYPTO, "as in X:BTC-USD"),
        ("EURO/USD", Market.FOREX, "C:EUR-USD"),
        ("SPY", Market.OPTIONS, "O:SPY251219C00650000"),
        ("AAPL", Market.FUTURES, "ESZ5"),
        ("S&P", Market.INDICES, "I:SPX"),
    ],
)
def test_a_ticker_that_does_not_fit_its_market_is_refused_with_examples(
    ticker: str, market: Market, message: str
) -> None:
    with pytest.raises(SymbolError, match=re.escape(message)):
        normalise(ticker, market)


@given(_DATES, st.sampled_from(Market))
def test_partition_keys_round_trip_and_sort_by_day(date: dt.date, market: Market) -> None:
    partition = Partition(date, market)
    assert Partition.parse(str(partition)) == partition
    assert partition < Partition(date + dt.timedelta(1), Market.STOCKS)


@settings(max_examples=200, deadline=None)
@given(_DATES, st.sampled_from([m for m in Market if m is not Market.FUTURES]))
def test_sessions_nest_and_days_do_not_overlap(date: dt.date, market: Market) -> None:
    session = session_of(market, date)
    if session is None:
        return
    assert session.day_start <= session.extended_start <= session.regular_start < session.regular_end
    assert session.regular_end <= session.extended_end <= session.day_end
    following = session_of(market, date + dt.timedelta(1))
    assert following is None or following.day_start == session.day_end


@settings(max_examples=200, deadline=None)
@given(_DATES)
def test_stocks_trade_by_new_york_time(date: dt.date) -> None:
    session = session_of(Market.STOCKS, date)
    if session is None:
        return
    opens, closes = _wall(session.regular_start), _wall(session.regular_end)
    # A few days opened late (2001-09-17, 2002-09-11, 2003-02-20), none early.
    assert dt.time(9, 30) <= opens.time() <= dt.time(12)
    assert opens.date() == closes.date() == date
    assert _wall(session.day_start).time() == dt.time(0)
    assert _wall(session.extended_start).time() == dt.time(4)
    assert closes.time() <= dt.time(16, 15)


def test_the_clock_change_of_2008() -> None:
    before, after = (_session(Market.STOCKS, dt.date(2008, 3, day)) for day in (7, 10))
    assert _wall(before.regular_start, dt.UTC).time() == dt.time(14, 30)
    assert _wall(after.regular_start, dt.UTC).time() == dt.time(13, 30)
    assert before.regular_minutes == after.regular_minutes == 390
    assert session_of(Market.STOCKS, dt.date(2008, 3, 9)) is None
    # The forex week opens that Sunday at 17:00 New York, which is 21:00 UTC now and was 22:00 a week earlier.
    assert _wall(_session(Market.FOREX, dt.date(2008, 3, 9)).regular_start, dt.UTC).hour == 21
    assert _wall(_session(Market.FOREX, dt.date(2008, 3, 2)).regular_start, dt.UTC).hour == 22


@pytest.mark.parametrize("date", [dt.date(2015, 12, 24), dt.date(2013, 11, 29), dt.date(2023, 7, 3)])
def test_half_days(date: dt.date) -> None:
    session = _session(Market.STOCKS, date)
    assert session.regular_minutes == 210
    assert _wall(session.regular_end).time() == dt.time(13)
    assert _wall(session.extended_end).time() == dt.time(17)
    assert _session(Market.INDICES, date).regular_minutes == 210


@pytest.mark.parametrize(
    "date",
    [dt.date(2013, 10, 12), dt.date(2013, 12, 25), dt.date(2012, 10, 29), dt.date(2022, 6, 20), dt.date(2001, 9, 12)],
)
def test_closed_days(date: dt.date) -> None:
    assert session_of(Market.STOCKS, date) is None


def test_crypto_never_closes_and_forex_closes_at_the_weekend() -> None:
    week = [dt.date(2024, 2, 26) + dt.timedelta(day) for day in range(7)]
    assert all(_session(Market.CRYPTO, day).regular_minutes == 1440 for day in week)
    minutes = [s.regular_minutes if (s := session_of(Market.FOREX, day)) else 0 for day in week]
    assert minutes == [1440, 1440, 1440, 1440, 22 * 60, 0, 2 * 60]


def test_a_futures_day_begins_the_evening_before() -> None:
    session = _session(Market.FUTURES, dt.date(2024, 3, 5))
    assert _wall(session.regular_start).date() == dt.date(2024, 3, 4)
    assert (session.day_end - session.day_start) % NS_PER_MINUTE == 0


@pytest.mark.parametrize("date", [dt.date(2024, 3, 5), dt.date(2024, 7, 9)])
@pytest.mark.parametrize("market", list(Market))
def test_the_day_of_a_minute_after_midnight_utc(market: Market, date: dt.date) -> None:
    midnight = dt.datetime.combine(date, dt.time(), dt.UTC)
    evening = date if market in (Market.CRYPTO, Market.FOREX, Market.FUTURES) else date - dt.timedelta(days=1)
    # In winter New York's midnight is at 05:00 UTC, in summer at 04:00.
    for minute in range(4 * 60):
        time = midnight + dt.timedelta(minutes=minute)
        assert day_of(market, time) == day_of(market, int(time.timestamp()) * 10**9) == evening
        assert day_of(market, time.astimezone(_NEW_YORK)) == evening
    assert day_of(market, midnight + dt.timedelta(hours=5)) == date


@pytest.mark.long
@settings(max_examples=300, deadline=None)
@given(_DATES, st.sampled_from(Market), st.floats(0, 1))
def test_a_session_is_found_from_any_time_of_its_day(date: dt.date, market: Market, share: float) -> None:
    session = session_of(market, date)
    if session is None:
        return
    within = session.day_start + int(share * (session.day_end - 1 - session.day_start))
    for time in (session.day_start, within, session.day_end - 1):
        assert session_at(market, time) == session
        assert day_of(market, time) == date
    for outside in (session.day_start - 1, session.day_end):
        assert session_at(market, outside) != session


def test_there_is_no_session_on_closed_days_and_beyond_the_calendars() -> None:
    saturday, before = (int(dt.datetime(*day, 12, tzinfo=dt.UTC).timestamp()) * 10**9 for day in _CLOSED)
    assert session_at(Market.STOCKS, saturday) is None
    assert session_at(Market.FOREX, saturday) is None
    assert session_at(Market.STOCKS, before) is None
    assert known_session(Market.STOCKS, dt.date(1970, 1, 5)) is None
    assert known_session(Market.STOCKS, dt.date(2024, 3, 5)) is not None


def test_a_futures_day_is_known_from_its_evening_on() -> None:
    session = _session(Market.FUTURES, dt.date(2024, 3, 11))
    assert day_of(Market.FUTURES, session.day_start) == session.date
    assert day_of(Market.FUTURES, session.day_end - 1) == session.date
    assert day_of(Market.FUTURES, session.day_start - 10**9) == dt.date(2024, 3, 10)


def test_trading_days_of_a_range() -> None:
    assert trading_days(Market.STOCKS, dt.date(2013, 10, 4), dt.date(2013, 10, 8)) == [
        dt.date(2013, 10, d) for d in (4, 7, 8)
    ]
    assert len(trading_days(Market.CRYPTO, dt.date(2024, 2, 1), dt.date(2024, 2, 29))) == 29
    assert len(trading_days(Market.STOCKS, dt.date(2013, 1, 1), dt.date(2013, 12, 31))) == 252
    with pytest.raises(ValueError, match="ends before it begins"):
        trading_days(Market.STOCKS, dt.date(2013, 10, 8), dt.date(2013, 10, 4))
