"""A scan fitted on days of the built-in stock market, shared by the tests of a process."""

from functools import cache

import polars as pl

from models.scan.detector import Day, ScanDetector
from tapewatch.features.bins.batch import bins_5s
from tapewatch.market.instruments import Market
from tests.support.synthetic_days import SyntheticDay, days, synthetic_day


def tape(at: int) -> SyntheticDay:
    """A day of the built-in stock market."""
    return synthetic_day(Market.STOCKS, days(Market.STOCKS)[at])


@cache
def detector(*, without: str = "") -> ScanDetector:
    """Fitted on two days, maybe without a symbol."""
    fitted = []
    for day in (tape(0), tape(1)):
        bins = bins_5s(day.trades, day.quotes, day.session).filter(pl.col("symbol") != without)
        fitted.append(Day(day.session, bins, day.truth))
    return ScanDetector.fit(fitted)
