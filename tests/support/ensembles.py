"""An ensemble fitted on days of the built-in stock market, shared by the tests of a process."""

from dataclasses import replace
from functools import cache

import polars as pl

from models.anomaly_classifier.detector import AnomalyClassifierDetector
from models.anomaly_classifier.learning import Growth
from models.calibration.levels import threshold_of
from models.ensemble.detector import EnsembleDetector
from models.isolation_forest.detector import ForestParameters, IsolationForestDetector
from tapewatch.labels.training.training_set import build_training_set
from tapewatch.market.tables.tape import BARRIER_LABELS
from tests.support.labelled_minutes import injected_minutes
from tests.support.scans import tape

#: A symbol that the ensemble was not fitted on.
UNSEEN = "TSLA"


def ensemble(*, hours: float = 2.0) -> EnsembleDetector:
    """Fitted on two days without `UNSEEN`: a forest and a classifier, both small; one alert in `hours`."""
    fitted = _fitted()
    return replace(
        fitted,
        hours=hours,
        _state=replace(fitted._fitted, manifest=replace(fitted.manifest, threshold=threshold_of(hours))),
    )


def training_rows() -> pl.DataFrame:
    """Two days of the built-in stock market without `UNSEEN`, with what is declared anomalous on them."""
    parts = []
    for day in (tape(0), tape(1)):
        labelled = build_training_set(day.features.filter("is_regular"), BARRIER_LABELS.empty(), day.truth)
        parts.append(labelled.filter(pl.col("symbol") != UNSEEN))
    return pl.concat(parts)


@cache
def _fitted() -> EnsembleDetector:
    rows = training_rows()
    forest = IsolationForestDetector(ForestParameters(trees=40, samples=256), seed=3).fit(rows)
    growth = Growth(iterations=15, leaves=8, kind_iterations=8)
    classifier = AnomalyClassifierDetector(growth, seed=3).fit(rows, labelled=injected_minutes())
    return EnsembleDetector((forest, classifier)).fit(rows)
