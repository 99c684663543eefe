"""The days and hours of CME Group's futures: which weekdays have a session, and when each product trades in it.

Source: CME Group's holiday calendars and notices; the test compares them with pandas_market_calendars. Where sources disagree, the
earlier close is taken: it is an hour of which rows are expected, while loading always takes the whole day.
"""

import datetime as dt
import re
from enum import StrEnum
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo

CHICAGO = ZoneInfo("America/Chicago")
#: A futures day begins and ends here, in Chicago; the daily halt lies at its end.
DAY_BEGINS = dt.time(17)
#: From and to, Chicago time; a start from 17:00 on lies on the evening before.
Hours = tuple[dt.time, dt.time]

_CONTRACT: Final = re.compile(r"([A-Z0-9]{1,4}?)[FGHJKMNQUVXZ]\d{1,2}(?=$|[-:])")
_JUNETEENTH_SINCE, _GOOD_FRIDAYS_SINCE = 2022, 2010
_LAST_LATE_CLOSE = dt.date(2015, 9, 18)
_LAST_EQUITY_PAUSE = dt.date(2021, 6, 25)
_FIRST_NOON_HOLIDAY = dt.date(2014, 5, 1)
_MOURNING = (dt.date(2018, 12, 5), dt.date(2025, 1, 9))
_SANDY = (dt.date(2012, 10, 29), dt.date(2012, 10, 30))


class Product(StrEnum):
    """A group of contracts that trade the same hours."""

    EQUITY = "equity"
    RATES = "rates"
    FX = "fx"
    ENERGY = "energy"
    METALS = "metals"
    GRAINS = "grains"
    LIVESTOCK = "livestock"
    CRYPTO = "crypto"
    OTHER = "other"


_ROOTS: Final = {
    Product.EQUITY: "ES MES NQ MNQ YM MYM RTY M2K EMD SP ND NKD NIY MNK XAE XAF XAI XAK XAP XAR XAU XAV XAY XAZ XAB",
    Product.RATES: "ZT ZF ZN TN ZB UB TWE Z3N ZQ SR1 SR3 GE 2YY 5YY 10Y 30Y MTN MWN TBF3",
    Product.FX: "6A 6B 6C 6E 6J 6L 6M 6N 6S 6Z 6R E7 J7 M6A M6B M6C M6E M6J M6S MCD MSF MJY MIR SIR CNH MNH RP RY",
    Product.ENERGY: "CL MCL QM BZ RB HO NG MNG QG QH QU NN HH HP TTF EH CGO NGO GEO",
    Product.METALS: "GC MGC 1OZ QO SI SIL QI HG MHG QC PL PA ALI HRC BUS TIO LTH COB",
    Product.GRAINS: "ZC ZS ZW ZL ZM ZO ZR KE XC XK XW MZC MZS MZW MZL MZM",
    Product.LIVESTOCK: "LE GF HE PRK",
    Product.CRYPTO: "BTC MBT BFF ETH MET EFF SOL MSL XRP MXP",
}
_PRODUCT_OF_ROOT: Final = {root: product for product, roots in _ROOTS.items() for root in roots.split()}
_AGRICULTURE = (Product.GRAINS, Product.LIVESTOCK)


def product_of(symbol: str) -> Product:
    """The product of a contract or of the first leg of a spread; `OTHER` for a root that is not listed."""
    found = _CONTRACT.match(symbol)
    return _PRODUCT_OF_ROOT.get(found[1], Product.OTHER) if found else Product.OTHER


def is_open(date: dt.date) -> bool:
    """Whether any product has a session on a date.

    All are closed at weekends, on New Year's Day, on Christmas Day, and on Good Friday unless the employment report is published
    on it, which is the first Friday of a month.
    """
    if date.weekday() >= 5:
        return False
    match holiday(date):
        case "New Year" | "Christmas":
            return False
        case "Good Friday":
            return date.year >= _GOOD_FRIDAYS_SINCE and date.month == 4 and date.day <= 7
    return True


def hours_of(product: Product, date: dt.date) -> tuple[Hours, ...]:
    """When a product trades in the session of `date`; empty where it is closed. `OTHER` has the longest hours of all."""
    if not is_open(date):
        return ()
    if product is Product.OTHER:
        latest = max(hours[-1][1] for p in Product if p is not Product.OTHER and (hours := hours_of(p, date)))
        return ((DAY_BEGINS, latest),)
    closes = _early_close(product, date)
    if closes == _CLOSED:
        return ()
    return tuple(
        (start, min(end, closes)) for start, end in _usual_hours(product, date) if _offset(start) < _offset(closes)
    )


def _usual_hours(product: Product, date: dt.date) -> tuple[Hours, ...]:
    match product:
        case Product.GRAINS:
            if date < dt.date(2015, 7, 6):
                return ((dt.time(8, 30), dt.time(13, 15)),)
            return (dt.time(19), dt.time(7, 45)), (dt.time(8, 30), dt.time(13, 20))
        case Product.LIVESTOCK:
            return ((dt.time(8, 30), dt.time(13) if date < dt.date(2014, 10, 27) else dt.time(13, 5)),)
        case Product.EQUITY if date <= _LAST_EQUITY_PAUSE:
            closes = dt.time(16, 15) if date <= _LAST_LATE_CLOSE else dt.time(16)
            return (DAY_BEGINS, dt.time(15, 15)), (dt.time(15, 30), closes)
        case Product.ENERGY | Product.METALS if date <= _LAST_LATE_CLOSE:
            return ((DAY_BEGINS, dt.time(16, 15)),)
    return ((DAY_BEGINS, dt.time(16)),)


_CLOSED, _NONE = dt.time(0), dt.time(16, 59)


def _early_close(product: Product, date: dt.date) -> dt.time:
    """Chicago time; `_CLOSED` on a day without trading, `_NONE` on a usual one."""
    match holiday(date):
        case None:
            return _other_early_close(product, date)
        case "Good Friday":
            eight = product is Product.EQUITY or (product is Product.CRYPTO and date.year < 2023)
            ten = product in (Product.RATES, Product.FX, Product.CRYPTO)
            return dt.time(8, 15) if eight else dt.time(10, 15) if ten else _CLOSED
        case "after Thanksgiving" | "Christmas Eve" as eve:
            return _eve_close(product, date, is_christmas=eve == "Christmas Eve")
        case name:
            return _holiday_close(product, date, is_labor_day=name == "Labor Day")


def _holiday_close(product: Product, date: dt.date, *, is_labor_day: bool) -> dt.time:
    """On the holidays of the NYSE that CME trades through until a halt."""
    if product in _AGRICULTURE:
        return _CLOSED
    if product is Product.EQUITY:
        return dt.time(10, 30) if date < _FIRST_NOON_HOLIDAY else dt.time(12)
    if product is Product.RATES or date.year < 2022:
        return dt.time(12)
    if product in (Product.ENERGY, Product.METALS):
        # No later session takes over a Friday's trade date.
        is_early = date.weekday() == 4 or (is_labor_day and date.year < 2026)
        return dt.time(12) if is_early else dt.time(13, 30)
    return dt.time(16)


def _eve_close(product: Product, date: dt.date, *, is_christmas: bool) -> dt.time:
    if product in _AGRICULTURE:
        return dt.time(12, 5)
    if product in (Product.ENERGY, Product.METALS):
        return dt.time(12, 45) if is_christmas or date.year < 2026 else dt.time(13, 45)
    if product is Product.CRYPTO and not is_christmas and date.year >= 2021:
        return dt.time(12, 45)
    return dt.time(12, 15)


def _other_early_close(product: Product, date: dt.date) -> dt.time:
    is_half_day = (date.month, date.day) == (7, 3) and date.weekday() < 4
    if product is Product.EQUITY and (date in _MOURNING or date in _SANDY):
        return dt.time(8, 15) if date in _SANDY else dt.time(8, 30)
    if product in (Product.RATES, *_AGRICULTURE) and date == dt.date(2025, 1, 9):
        return dt.time(12, 15)
    if product in (Product.EQUITY, Product.CRYPTO) and is_half_day:
        return dt.time(12, 15)
    if product is Product.RATES and date.weekday() == 4:
        monday = holiday(date + dt.timedelta(days=3))
        last = {"Martin Luther King": 2015, "Presidents": 2015, "Memorial Day": 2015, "Labor Day": 2014}
        if monday is not None and date.year <= last.get(monday, 0):
            return dt.time(15, 15)
    return _NONE


def holiday(date: dt.date) -> str | None:
    """The name of an observed holiday, or of the short day beside one; None for a usual day."""
    return _holidays(date.year).get(date)


@cache
def _holidays(year: int) -> dict[dt.date, str]:
    import pandas as pd  # noqa: PLC0415 - slow, and few commands need it

    easter = (pd.Timestamp(year, 1, 1) + pd.offsets.Easter()).date()
    thanksgiving = _nth(year, 11, 3, 4)
    christmas = _nearest_weekday(dt.date(year, 12, 25))
    new_year = dt.date(year, 1, 1)
    found = {
        new_year + dt.timedelta(days=new_year.weekday() == 6): "New Year",
        _nth(year, 1, 0, 3): "Martin Luther King",
        _nth(year, 2, 0, 3): "Presidents",
        easter - dt.timedelta(days=2): "Good Friday",
        _nth(year, 6, 0, 1) - dt.timedelta(days=7): "Memorial Day",
        _nearest_weekday(dt.date(year, 7, 4)): "Independence Day",
        _nth(year, 9, 0, 1): "Labor Day",
        thanksgiving: "Thanksgiving",
        thanksgiving + dt.timedelta(days=1): "after Thanksgiving",
        dt.date(year, 12, 24): "Christmas Eve",
        christmas: "Christmas",
    }
    if year >= _JUNETEENTH_SINCE:
        found[_nearest_weekday(dt.date(year, 6, 19))] = "Juneteenth"
    return found


def _nth(year: int, month: int, weekday: int, n: int) -> dt.date:
    first = dt.date(year, month, 1)
    return first + dt.timedelta(days=(weekday - first.weekday()) % 7 + 7 * (n - 1))


def _nearest_weekday(date: dt.date) -> dt.date:
    return date + dt.timedelta(days={5: -1, 6: 1}.get(date.weekday(), 0))


def _offset(time: dt.time) -> int:
    """Minutes since the day began at 17:00."""
    return (time.hour * 60 + time.minute - DAY_BEGINS.hour * 60) % 1440
