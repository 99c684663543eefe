"""The interface of every detector, for training, evaluation and serving."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, Self

import numpy as np
import numpy.typing as npt
import polars as pl

if TYPE_CHECKING:
    from models.manifest import Manifest

Scores = npt.NDArray[np.float64]

#: Registered detectors of minutes: the champion of the first that has one scores them.
CHAMPIONS_OF_MINUTES: Final = ("ensemble", "isolation_forest")


class DetectorError(RuntimeError):
    """A detector cannot be fitted, loaded or used."""


class Detector(Protocol):
    """Scores minutes. Rows are MICROSTRUCTURE-shaped frames; each minute is scored from its own row and `context_minutes` before."""

    #: Its name in the registry.
    name: str

    @property
    def context_minutes(self) -> int:
        """How many minutes before a row enter its score; 0 where its own row is enough."""
        ...

    @property
    def threshold(self) -> float:
        """A minute with this score or a higher one is anomalous."""
        ...

    @property
    def manifest(self) -> "Manifest":
        """How it came about."""
        ...

    @property
    def features(self) -> tuple[str, ...]:
        """The columns that it reads besides symbol, event_time, known_time and session_minute."""
        ...

    def fit(self, rows: pl.DataFrame, *, partitions: Sequence[str] = ()) -> Self:
        """Fit on `rows` alone."""
        ...

    def score(self, rows: pl.DataFrame) -> Scores:
        """One score a row, higher where more anomalous; never NaN."""
        ...

    def held_out_scores(self, rows: pl.DataFrame) -> Scores:
        """Scores of the rows it was fitted on, as if their day were new; NaN where there is no such score."""
        ...

    def hours_between(self, scores: Scores, symbols: pl.Series) -> Scores | None:
        """The hours of ordinary tape of each score's symbol between scores as high; None without such a calibration."""
        ...

    def scored(self, rows: pl.DataFrame) -> pl.DataFrame:
        """symbol, event_time, known_time, score and is_out (whether the symbol's tape stopped) of each row."""
        ...

    def contributions(self, rows: pl.DataFrame) -> tuple[tuple[str, ...], Scores]:
        """Names of features, and the contribution of each to every row's score (rows x features), as of `explain`."""
        ...

    def explain(self, rows: pl.DataFrame) -> pl.DataFrame:
        """An ATTRIBUTIONS frame: each feature's contribution to the score."""
        ...

    def save(self, folder: Path) -> None:
        """Write state and manifest into `folder`, without pickling."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The detector as saved; its scores are bit-identical."""
        ...
