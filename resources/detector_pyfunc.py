"""How MLflow loads a detector: this file is logged with the model and runs when the model is loaded.

MLflow uses pandas, and its signatures have no time zones: times are passed in UTC without a zone.
"""

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import polars as pl

from models.base import Detector
from models.loading import load_detector

_IDENTITY = ("symbol", "event_time", "known_time", "session_minute")
_TIMES = ("event_time", "known_time")


class DetectorModel(mlflow.pyfunc.PythonModel):
    """Scores microstructure rows: `score` and `is_anomaly` for each."""

    def load_context(self, context: Any) -> None:
        self.detector = load_detector(Path(context.artifacts["detector"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:  # noqa: ARG002
        """`model_input`: columns `symbol`, `event_time`, `known_time`, `session_minute` and the features; a row out for each."""
        rows = pl.from_pandas(model_input).with_columns(
            pl.col(_TIMES).cast(pl.Datetime("ns")).dt.replace_time_zone("UTC")
        )
        return verdicts(self.detector, rows)


def as_pandas(detector: Detector, rows: pl.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`rows` as the model receives them, and its output: for a signature and an input example."""
    chosen = rows.select(*_IDENTITY, *detector.features).with_columns(
        pl.col("symbol").cast(pl.String),
        pl.col(_TIMES).dt.replace_time_zone(None),
        # Pandas has no missing integer: a count that may be null is passed as a float.
        pl.col("session_minute", *detector.features).cast(pl.Float64),
    )
    return chosen.to_pandas(), verdicts(detector, rows)


def verdicts(detector: Detector, rows: pl.DataFrame) -> pd.DataFrame:
    """`score` and `is_anomaly` of each row."""
    score = detector.score(rows)
    return pd.DataFrame({"score": score, "is_anomaly": score >= detector.threshold})


mlflow.models.set_model(DetectorModel())
