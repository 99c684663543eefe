"""The Isolation Forest, served."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from models.base import Scores
from models.manifest import Manifest
from models.served.base import TreeSum
from models.served.evidence import EvidenceArrays
from models.served.minutes import Minutes
from models.served.reasons import Reasons

NAME = "isolation_forest"


@dataclass(frozen=True)
class ForestScorer:
    """Evidence in NumPy, the trees in ONNX Runtime."""

    manifest: Manifest
    _evidence: EvidenceArrays
    _trees: TreeSum
    _reasons: Reasons

    @classmethod
    def load(cls, folder: Path) -> Self:
        """From the folder that `IsolationForestDetector.save` wrote. Without a graph in it, one is made; that imports scikit-learn.

        Raises:
            DetectorError: the files do not fit this code, or have changed.
        """
        manifest = Manifest.read(folder, detector=NAME)
        return cls(manifest, EvidenceArrays.load(folder), TreeSum(folder, NAME, forest_graph), Reasons(folder))

    @property
    def features(self) -> tuple[str, ...]:
        return tuple(self.manifest.features)

    def score(self, minutes: Minutes) -> Scores:
        if not len(minutes):
            return np.empty(0)
        lengths = self._trees.of(self._evidence.inputs(minutes))
        return np.asarray(np.exp2(-lengths))

    def hours(self, scores: Scores) -> Scores | None:  # noqa: ARG002
        return None

    def explain(self, minutes: Minutes) -> pl.DataFrame:
        return self._reasons.of(minutes)


def forest_graph(folder: Path) -> bytes:
    """The graph of a saved forest, to path lengths."""
    from models.forest_onnx import length_graph  # noqa: PLC0415 - imports scikit-learn
    from models.isolation_forest import IsolationForestDetector  # noqa: PLC0415

    return bytes(length_graph(IsolationForestDetector.load(folder).forest).SerializeToString())
