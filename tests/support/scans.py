"""A scan fitted on days of the built-in stock market, shared by the tests of a process."""

from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl

from models.scan.calibration import fit_tail
from models.scan.detector import Day, ScanDetector
from models.scan.layout import KINDS
from models.scan.learned import Additive, Learned
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
    return with_weights(ScanDetector.fit(fitted))


def weights(seed: int) -> Additive:
    """Scores of kinds that nothing taught."""
    rng, none = np.random.default_rng(seed), Additive.nothing()
    return Additive(rng.normal(0, 0.3, none.weight.shape), rng.normal(0, 0.3, len(KINDS)))


def with_weights(fitted: ScanDetector) -> ScanDetector:
    """A scan as if it had learnt: its incidents open and are named by such scores too."""
    tail = fit_tail([np.random.default_rng(0).exponential(0.8, 40_000)])
    learned = Learned(weights(1), (tail,) * len(KINDS), weights(2))
    return replace(fitted, markets={market: replace(scan, learned=learned) for market, scan in fitted.markets.items()})
