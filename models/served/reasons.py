"""The reasons of a served detector's scores, by the saved detector itself."""

import threading
from pathlib import Path
from typing import Any

import polars as pl

from models.loading import load_detector
from models.served.minutes import Minutes


class Reasons:
    """Attributions of the detector saved in `folder`, which is loaded for the first of them: that imports scikit-learn and SHAP."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._lock = folder, threading.Lock()
        self._detector: Any = None

    def of(self, minutes: Minutes) -> pl.DataFrame:
        """As `RowScorer.explain`."""
        with self._lock:
            if self._detector is None:
                self._detector = load_detector(self._folder)
        return explained(self._detector, minutes)


def explained(detector: Any, minutes: Minutes) -> pl.DataFrame:
    """As `RowScorer.explain`, by a detector of frames.

    Rows that repeat a symbol's minute are explained in calls of their own: attributions name a row by its minute.
    """
    place = ["symbol", "event_time"]
    rows = minutes.to_frame().with_row_index("row")
    rows = rows.with_columns(occurrence=pl.int_range(pl.len()).over(place))
    parts = []
    for part in rows.partition_by("occurrence", maintain_order=True):
        found = detector.explain(part.drop("row", "occurrence")).with_columns(pl.col("symbol").cast(pl.String))
        numbered = found.join(part.select(*place, "row"), on=place)
        parts.append(
            numbered.select(pl.col("row").cast(pl.Int64), pl.col("feature").cast(pl.String), "value", "shap_value")
        )
    joined: pl.DataFrame = pl.concat(parts)
    return joined
