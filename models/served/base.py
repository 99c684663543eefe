"""The interface of a detector that is served."""

from pathlib import Path
from typing import Protocol

import polars as pl

from models.base import Scores
from models.manifest import Manifest
from models.served.minutes import Minutes


class RowScorer(Protocol):
    """Scores minutes by ONNX. Loading one and `score` import neither scikit-learn nor a deep-learning framework."""

    @property
    def manifest(self) -> Manifest:
        """Origin, features, threshold and training days."""
        ...

    @property
    def features(self) -> tuple[str, ...]:
        """The columns of `MICROSTRUCTURE` that it reads, in the order of `Minutes.values`."""
        ...

    def score(self, minutes: Minutes) -> Scores:
        """One score a row, higher where more anomalous; never NaN for finite values."""
        ...

    def hours(self, scores: Scores) -> Scores | None:
        """Once in how many hours a symbol's ordinary tape scores as high; None if the detector is not calibrated so."""
        ...

    def explain(self, minutes: Minutes) -> pl.DataFrame:
        """row (position among the minutes), feature (text), value and shap_value; may import what `score` does not."""
        ...


def graph_of(folder: Path, name: str) -> Path:
    """The file of the graph of the detector saved in `folder`."""
    return folder / f"{name}.onnx"
