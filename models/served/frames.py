"""A detector of frames, served as it is."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from models.base import Scores
from models.manifest import Manifest
from models.served.minutes import Minutes


@dataclass(frozen=True)
class FrameScorer:
    """A detector that scores frames without scikit-learn or a deep-learning framework, such as the autoencoder."""

    detector: Any

    @property
    def manifest(self) -> Manifest:
        found: Manifest = self.detector.manifest
        return found

    @property
    def features(self) -> tuple[str, ...]:
        return tuple(self.detector.features)

    def score(self, minutes: Minutes) -> Scores:
        scores: Scores = self.detector.score(minutes.to_frame())
        return scores

    def hours(self, scores: Scores, minutes: Minutes) -> Scores | None:
        found: Scores | None = self.detector.hours_between(scores, pl.Series(minutes.symbols, dtype=pl.String))
        return found

    def contributions(self, minutes: Minutes) -> tuple[tuple[str, ...], Scores]:
        rows = minutes.to_frame().with_row_index("row")
        rows = rows.with_columns(occurrence=pl.int_range(pl.len()).over("symbol", "event_time"))
        names: tuple[str, ...] = ()
        found: dict[int, Scores] = {}
        # A symbol's minute that comes twice would be part of its own past.
        for part in rows.partition_by("occurrence", maintain_order=True):
            names, own = self.detector.contributions(part.drop("row", "occurrence"))
            found |= dict(zip(part["row"].to_list(), own, strict=True))
        return names, np.array([found[at] for at in range(len(minutes))]).reshape(len(minutes), len(names))
