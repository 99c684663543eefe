"""What every detector offers, so that training, evaluation and serving need not know which one they hold."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt
import polars as pl

Scores = npt.NDArray[np.float64]


class DetectorError(RuntimeError):
    """A detector cannot be fitted, loaded or used; the message names the thing, the value and the way out."""


class Detector(Protocol):
    """Scores minutes. Rows are MICROSTRUCTURE-shaped frames; a minute is scored by its own row alone."""

    #: Name under which it is registered.
    name: str

    @property
    def threshold(self) -> float:
        """A minute whose score is at or above this is anomalous."""
        ...

    @property
    def features(self) -> tuple[str, ...]:
        """Columns of MICROSTRUCTURE that it reads, beside symbol, event_time, known_time and session_minute."""
        ...

    def fit(self, rows: pl.DataFrame, *, partitions: Sequence[str] = ()) -> Self:
        """Learn what is usual from `rows` alone."""
        ...

    def score(self, rows: pl.DataFrame) -> Scores:
        """One score a row, higher where more anomalous; never NaN."""
        ...

    def scored(self, rows: pl.DataFrame) -> pl.DataFrame:
        """symbol, event_time, known_time, score and kind of each row."""
        ...

    def explain(self, rows: pl.DataFrame) -> pl.DataFrame:
        """An ATTRIBUTIONS frame of `rows`: how much each feature adds to the score."""
        ...

    def save(self, folder: Path) -> None:
        """Write state and manifest into `folder`; no class of this project is pickled."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The detector as saved, scoring as it did, bit for bit."""
        ...
