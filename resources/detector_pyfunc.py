"""How MLflow loads a detector: this file is logged with the model and runs when the model is loaded.

Rows may come from `pd.read_parquet` of the lake's own file, from the input example, or from JSON. A time without a zone is UTC.
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
        # MLflow's signatures have neither zones nor categories, so that these columns come as they are.
        utc = {name: pd.to_datetime(model_input[name], utc=True).astype("datetime64[ns, UTC]") for name in _TIMES}
        plain = model_input[[*_IDENTITY, *self.detector.features]].assign(
            symbol=model_input["symbol"].astype(str), **utc
        )
        return verdicts(self.detector, pl.from_pandas(plain))


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
