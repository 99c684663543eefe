"""The Isolation Forest, served."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from models.base import Scores
from models.manifest import Manifest
from models.served.base import TreeSum
from models.served.evidence import EvidenceArrays
from models.served.levels import HourTable
from models.served.minutes import Minutes
from models.served.paths import Paths, arrays_of

NAME = "isolation_forest"


@dataclass(frozen=True)
class ForestScorer:
    """Evidence in NumPy, the trees in ONNX Runtime, their reasons by SHAP's kernel."""

    manifest: Manifest
    _evidence: EvidenceArrays
    _trees: TreeSum
    _paths: Paths
    _hours: HourTable | None

    @classmethod
    def load(cls, folder: Path) -> Self:
        """From the folder that `IsolationForestDetector.save` wrote. Without a graph in it, one is made; that imports scikit-learn.

        Raises:
            DetectorError: the files do not fit this code, or have changed.
        """
        manifest = Manifest.read(folder, detector=NAME)
        trees, paths = TreeSum(folder, NAME, forest_graph), Paths(folder, NAME, forest_paths)
        return cls(manifest, EvidenceArrays.load(folder), trees, paths, HourTable.stored(folder, NAME))

    @property
    def features(self) -> tuple[str, ...]:
        return tuple(self.manifest.features)

    def score(self, minutes: Minutes) -> Scores:
        if not len(minutes):
            return np.empty(0)
        lengths = self._trees.of(self._evidence.inputs(minutes))
        return np.asarray(np.exp2(-lengths))

    def hours(self, scores: Scores, minutes: Minutes) -> Scores | None:
        return self._hours.of(scores, minutes) if self._hours else None

    def contributions(self, minutes: Minutes) -> tuple[tuple[str, ...], Scores]:
        rows, evidence = minutes.to_frame(), self._evidence.fitted
        # A shorter path is more anomalous.
        return self.features, evidence.to_features(rows, -self._paths.contributions(evidence.inputs(rows)))


def forest_graph(folder: Path) -> bytes:
    """The graph of a saved forest, to path lengths."""
    from models.isolation_forest.detector import IsolationForestDetector  # noqa: PLC0415
    from models.isolation_forest.onnx_graph import length_graph  # noqa: PLC0415 - imports scikit-learn

    return bytes(length_graph(IsolationForestDetector.load(folder).forest).SerializeToString())


def forest_paths(folder: Path) -> dict[str, Any]:
    """The trees of a saved forest, for its reasons."""
    from models.isolation_forest.detector import IsolationForestDetector  # noqa: PLC0415
    from models.isolation_forest.paths import explainer  # noqa: PLC0415 - imports scikit-learn

    return arrays_of(explainer(IsolationForestDetector.load(folder).forest))
