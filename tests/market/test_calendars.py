"""Every market's days and hours of 2012 to 2026 against a second source, pandas_market_calendars; each difference is explained."""

import datetime as dt
from collections.abc import Callable, Iterator
from zoneinfo import ZoneInfo

import pandas_market_calendars
import pytest

from tapewatch.market import cme
from tapewatch.market.cme import Product
from tapewatch.market.hours import expected_minutes, product_of
from tapewatch.market.instruments import NEW_YORK, NS_PER_MINUTE, NS_PER_SECOND, Market, Session, session_of

FIRST, LAST = dt.date(2012, 1, 1), dt.date(2026, 12, 31)
DAYS = [FIRST + dt.timedelta(days=offset) for offset in range((LAST - FIRST).days + 1)]
#: The time of the close, or None on a closed day.
Close = dt.time | None
Differs = Callable[[dt.date], bool]


def is_any_of(*days: str) -> Differs:
    return lambda day: day.isoformat() in days


def is_holiday(*names: str, first: int = 2012, last: int = 2026) -> Differs:
    return lambda day: first <= day.year <= last and cme.holiday(day) in names


# The days on which ours and the second source differ, and why ours is right. A rule that no day needs fails the test.
ONLY_PAYROLL_FRIDAYS = (
    "no payroll report came out on that Good Friday, and CME was closed",
    is_any_of("2024-03-29", "2025-04-18"),
)
LATE_CLOSE = ("the close was 16:15 until 18 September 2015", lambda day: day <= dt.date(2015, 9, 18))
JUNETEENTH = ("agricultural products have been closed since 2022", is_holiday("Juneteenth"))
CARTER = ("the day of mourning for President Carter, by CME's notice", is_any_of("2025-01-09"))
MOURNING = ("a day of mourning: equity products closed at 8:30", is_any_of("2018-12-05", "2025-01-09"))
DIFFERENCES: dict[Product, tuple[str, list[tuple[str, Differs]]]] = {
    Product.EQUITY: (
        "CME Globex Equity",
        [
            ONLY_PAYROLL_FRIDAYS,
            MOURNING,
            LATE_CLOSE,
            ("Hurricane Sandy: equity products closed at 8:15", is_any_of("2012-10-29", "2012-10-30")),
        ],
    ),
    Product.RATES: ("CME Globex Fixed Income", [ONLY_PAYROLL_FRIDAYS, CARTER]),
    Product.FX: (
        "CMEGlobex_FX",
        [
            ONLY_PAYROLL_FRIDAYS,
            (
                "currencies traded until 10:15; the second source knows it from 2021 on",
                is_any_of("2012-04-06", "2015-04-03"),
            ),
        ],
    ),
    Product.ENERGY: (
        "CMEGlobex_Energy",
        [
            LATE_CLOSE,
            ("12:45 every year; the second source has 2026 alone", is_holiday("Christmas Eve", last=2025)),
            ("a holiday on a Friday halts at 12:00, as in 2026", is_any_of("2025-07-04")),
        ],
    ),
    Product.GRAINS: (
        "CMEGlobex_Grains",
        [
            JUNETEENTH,
            CARTER,
            ("13:15 until July 2015", lambda day: day < dt.date(2015, 7, 6)),
            ("12:05; the second source has it for livestock alone", is_holiday("after Thanksgiving", "Christmas Eve")),
        ],
    ),
    Product.LIVESTOCK: (
        "CMEGlobex_Livestock",
        [JUNETEENTH, CARTER, ("13:00 until October 2014", lambda day: day < dt.date(2014, 10, 27))],
    ),
    Product.CRYPTO: (
        "CME Globex Crypto",
        [
            ONLY_PAYROLL_FRIDAYS,
            ("not listed before December 2017; as the equity products", is_any_of("2012-04-06", "2015-04-03")),
        ],
    ),
}


def second(name: str, zone: ZoneInfo) -> dict[dt.date, dt.time]:
    schedule = pandas_market_calendars.get_calendar(name).schedule(FIRST, LAST)
    return {day.date(): close.astimezone(zone).time() for day, close in schedule["market_close"].items()}


def wall(ns: int, zone: ZoneInfo = NEW_YORK) -> dt.time:
    return dt.datetime.fromtimestamp(ns // NS_PER_SECOND, zone).time()


def differences(ours: dict[dt.date, Close], theirs: dict[dt.date, dt.time]) -> Iterator[dt.date]:
    yield from (day for day in DAYS if ours.get(day) != theirs.get(day))


def close_of(product: Product, day: dt.date) -> Close:
    hours = cme.hours_of(product, day)
    return hours[-1][1] if hours else None


@pytest.mark.parametrize("product", DIFFERENCES)
def test_a_futures_product_closes_as_the_second_source_says_or_a_reason_is_given(product: Product) -> None:
    name, reasons = DIFFERENCES[product]
    found = list(differences({day: close_of(product, day) for day in DAYS}, second(name, cme.CHICAGO)))
    unexplained = [day for day in found if not any(differs(day) for _, differs in reasons)]
    assert not unexplained
    for reason, differs in reasons:
        assert any(differs(day) for day in found), f"no difference needs the reason {reason!r}"


@pytest.mark.parametrize(
    ("market", "name"), [(Market.STOCKS, "NYSE"), (Market.INDICES, "NYSE"), (Market.OPTIONS, "NYSE")]
)
def test_new_york_markets_close_as_the_second_source_says(market: Market, name: str) -> None:
    ours = {day: wall(session.regular_end) for day in DAYS if (session := session_of(market, day))}
    assert list(differences(ours, second(name, NEW_YORK))) == []


def test_options_on_indices_close_as_the_second_source_says() -> None:
    ours = {day: wall(session.extended_end) for day in DAYS if (session := session_of(Market.OPTIONS, day))}
    theirs = second("CBOE_Index_Options", NEW_YORK)
    found = list(differences(ours, theirs))
    # The second source lacks Cboe's half day on Christmas Eve, which its calendar of the NYSE has.
    explained = {day for day in found if cme.holiday(day) == "Christmas Eve"}
    assert set(found) == explained


def test_pairs_trade_as_the_second_source_says() -> None:
    assert all(session_of(Market.CRYPTO, day) for day in DAYS)
    theirs = pandas_market_calendars.get_calendar("24/7").schedule(FIRST, LAST)
    assert len(theirs) == len(DAYS)
    # Forex has no holidays in either. Its second source counts days from 17:00 to 17:00 in New York, ours are UTC days.
    weekly = pandas_market_calendars.get_calendar("FOREX").schedule(FIRST, LAST)
    assert {day.isoweekday() for day in weekly.index.date} == {7, 1, 2, 3, 4, 5}
    assert {day.isoweekday() for day in DAYS if session_of(Market.FOREX, day)} == {7, 1, 2, 3, 4, 5}


def session(market: Market, day: str) -> Session:
    found = session_of(market, dt.date.fromisoformat(day))
    assert found is not None
    return found


@pytest.mark.parametrize("day", ["2025-01-09", "2018-12-05", "2021-04-02", "2023-04-07", "2015-04-03", "2026-04-03"])
def test_a_day_on_which_part_of_the_cme_trades_is_a_trading_day(day: str) -> None:
    futures = session(Market.FUTURES, day)
    assert futures.day_end - futures.day_start == 24 * 60 * NS_PER_MINUTE


@pytest.mark.parametrize(
    "day", ["2021-12-24", "2022-12-26", "2023-01-02", "2022-04-15", "2024-03-29", "2025-12-25", "2025-01-11"]
)
def test_a_day_on_which_all_of_the_cme_is_closed_is_none(day: str) -> None:
    assert session_of(Market.FUTURES, dt.date.fromisoformat(day)) is None


@pytest.mark.parametrize(
    ("day", "symbol", "minutes"),
    [
        ("2025-01-08", "ESH5", 23 * 60),
        ("2025-01-09", "ESH5", 15 * 60 + 30),
        ("2025-01-09", "CLG5", 23 * 60),
        ("2025-01-09", "ZNH5", 19 * 60 + 15),
        ("2025-11-28", "ESZ5", 19 * 60 + 15),
        ("2025-11-28", "GCZ5", 19 * 60 + 45),
        ("2023-06-19", "ESU3", 19 * 60),
        ("2024-06-19", "MESU4", 19 * 60),
        ("2023-06-19", "ZCU3", 0),
        ("2025-01-08", "ZCH5", 12 * 60 + 45 + 4 * 60 + 50),
        ("2025-01-08", "LEG5", 4 * 60 + 35),
        ("2021-04-02", "ESM1", 15 * 60 + 15),
        ("2021-04-02", "CLK1", 0),
        ("2021-04-02", "ZNM1", 17 * 60 + 15),
        ("2020-06-10", "ESM0", 23 * 60 - 15),
        ("2014-06-10", "CLN4", 23 * 60 + 15),
        ("2025-01-08", "CLG5-CLH5", 23 * 60),
        ("2025-01-08", "QQQQZ5", 23 * 60),
    ],
)
def test_expected_minutes_of_a_futures_contract(day: str, symbol: str, minutes: int) -> None:
    futures = session(Market.FUTURES, day)
    assert sum(end - start for start, end in expected_minutes(futures, product_of(futures, symbol))) == minutes


@pytest.mark.parametrize(
    ("day", "symbol", "closes"),
    [
        ("2024-03-07", "O:SPY240315C00500000", dt.time(16, 15)),
        ("2024-03-07", "O:SPXW240315C05000000", dt.time(16, 15)),
        ("2024-03-07", "O:AAPL240315C00170000", dt.time(16)),
        ("2024-11-29", "O:SPX241220C05000000", dt.time(13, 15)),
        ("2024-11-29", "O:AAPL241220C00170000", dt.time(13)),
    ],
)
def test_options_on_broad_indices_trade_a_quarter_hour_longer(day: str, symbol: str, closes: dt.time) -> None:
    options = session(Market.OPTIONS, day)
    ((_, last),) = expected_minutes(options, product_of(options, symbol))
    assert wall(options.regular_start + last * NS_PER_MINUTE) == closes
    assert wall(options.extended_end) == (dt.time(13, 15) if day == "2024-11-29" else dt.time(16, 15))


def test_the_clocks_change_within_a_futures_day() -> None:
    # The session of Monday begins on Sunday evening, after the change: 24 hours as ever.
    for day in ("2024-03-11", "2024-11-04"):
        futures = session(Market.FUTURES, day)
        assert futures.day_end - futures.day_start == 24 * 60 * NS_PER_MINUTE
        assert wall(futures.day_start, cme.CHICAGO) == dt.time(17)
