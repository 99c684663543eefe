"""A classifier fitted once on three synthetic days and anomalies put into copies of them."""

import polars as pl
import pytest

from models.anomaly_classifier.detector import AnomalyClassifierDetector
from models.anomaly_classifier.learning import Growth
from tests.support.labelled_minutes import injected_minutes

SMALL = Growth(iterations=25, leaves=8, kind_iterations=8)


@pytest.fixture(scope="session")
def labelled() -> pl.DataFrame:
    return injected_minutes()


@pytest.fixture(scope="session")
def classifier(training_rows: pl.DataFrame, labelled: pl.DataFrame) -> AnomalyClassifierDetector:
    return AnomalyClassifierDetector(SMALL, seed=3).fit(
        training_rows, partitions=["2024-03-04|stocks"], labelled=labelled
    )
