"""A detector fitted once on three synthetic days, and unseen rows."""

import polars as pl
import pytest

from models.isolation_forest.detector import ForestParameters, IsolationForestDetector
from tapewatch.market.instruments import Market
from tests.support.synthetic_days import days, synthetic_day

SMALL = ForestParameters(trees=80, samples=1024)


@pytest.fixture(scope="session")
def training_rows() -> pl.DataFrame:
    return pl.concat([synthetic_day(Market.STOCKS, day).regular for day in days(Market.STOCKS)[:3]])


@pytest.fixture(scope="session")
def unseen_rows() -> pl.DataFrame:
    return synthetic_day(Market.STOCKS, days(Market.STOCKS)[3]).regular


@pytest.fixture(scope="session")
def detector(training_rows: pl.DataFrame) -> IsolationForestDetector:
    return IsolationForestDetector(SMALL, seed=3).fit(training_rows, partitions=["2024-03-04|stocks"])
