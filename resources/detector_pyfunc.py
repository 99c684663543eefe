"""How MLflow loads a detector: this file is logged with the model and run when it is loaded.

MLflow's tables are pandas, and its signatures know no time zones: times cross as UTC without saying so.
"""

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import polars as pl

from models.isolation_forest import IsolationForestDetector

_IDENTITY = ("symbol", "event_time", "known_time", "session_minute")
_TIMES = ("event_time", "known_time")


class DetectorModel(mlflow.pyfunc.PythonModel):
    """Scores microstructure rows: `score` and `is_anomaly` for each."""

    def load_context(self, context: Any) -> None:
        """Read the detector from the artifact folder."""
        self.detector = IsolationForestDetector.load(Path(context.artifacts["detector"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:  # noqa: ARG002
        """Columns `symbol`, `event_time`, `known_time`, `session_minute` and the detector's features in; a row out for each."""
        rows = pl.from_pandas(model_input).with_columns(
            pl.col(_TIMES).cast(pl.Datetime("ns")).dt.replace_time_zone("UTC")
        )
        return verdicts(self.detector, rows)


def as_pandas(detector: IsolationForestDetector, rows: pl.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`rows` as the model receives them, and what it answers: for a signature and an input example."""
    chosen = rows.select(*_IDENTITY, *detector.features).with_columns(
        pl.col("symbol").cast(pl.String),
        pl.col(_TIMES).dt.replace_time_zone(None),
        # Pandas has no missing integer: a count that may be null crosses as a float.
        pl.col("session_minute", *detector.features).cast(pl.Float64),
    )
    return chosen.to_pandas(), verdicts(detector, rows)


def verdicts(detector: IsolationForestDetector, rows: pl.DataFrame) -> pd.DataFrame:
    """`score` and `is_anomaly` of each row."""
    score = detector.score(rows)
    return pd.DataFrame({"score": score, "is_anomaly": score >= detector.threshold})


mlflow.models.set_model(DetectorModel())
