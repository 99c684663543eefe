"""Anomalous minutes put into copies of synthetic days, for tests of the classifier and the ensemble."""

from functools import lru_cache

import polars as pl

from models.anomaly_classifier.examples import injected
from tapewatch.market.instruments import Market
from tests.support.synthetic_days import days, synthetic_day


@lru_cache(maxsize=1)
def injected_minutes() -> pl.DataFrame:
    """Of the first three days of stocks."""
    tapes = [synthetic_day(Market.STOCKS, day) for day in days(Market.STOCKS)[:3]]
    return injected([(tape.trades, tape.quotes, tape.session) for tape in tapes], seed=11)
