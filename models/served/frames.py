"""A detector of frames, served as it is."""

from dataclasses import dataclass
from typing import Any

import polars as pl

from models.base import Scores
from models.manifest import Manifest
from models.served.minutes import Minutes
from models.served.reasons import explained


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

    def hours(self, scores: Scores) -> Scores | None:  # noqa: ARG002
        return None

    def explain(self, minutes: Minutes) -> pl.DataFrame:
        return explained(self.detector, minutes)
