"""The classifier, served."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from models.base import Scores
from models.manifest import Manifest
from models.profile import group_name
from models.served.base import TreeSum
from models.served.evidence import EvidenceArrays
from models.served.levels import HourTable
from models.served.minutes import Minutes
from models.served.paths import Paths, arrays_of

NAME = "anomaly_classifier"
_BASE, _SLOPE = "base", "slope"


@dataclass(frozen=True)
class ClassifierScorer:
    """Surprises in NumPy, the boosted trees in ONNX Runtime, their reasons by SHAP's kernel."""

    manifest: Manifest
    _evidence: EvidenceArrays
    _trees: TreeSum
    _base: float
    _slope: float
    _paths: Paths
    _hours: HourTable | None

    @classmethod
    def load(cls, folder: Path) -> Self:
        """From the folder that `AnomalyClassifierDetector.save` wrote. Without a graph in it, one is made; that imports scikit-learn.

        Raises:
            DetectorError: the files do not fit this code, or have changed.
        """
        manifest = Manifest.read(folder, detector=NAME)
        trees = TreeSum(folder, NAME, classifier_graph)
        base, slope = float(trees.facts[_BASE]), float(trees.facts[_SLOPE])
        paths = Paths(folder, NAME, classifier_paths)
        hours = HourTable.stored(folder, NAME)
        return cls(manifest, EvidenceArrays.load(folder), trees, base, slope, paths, hours)

    @property
    def features(self) -> tuple[str, ...]:
        return tuple(self.manifest.features)

    def score(self, minutes: Minutes) -> Scores:
        if not len(minutes):
            return np.empty(0)
        log_odds = self._base + self._trees.of(self._evidence.surprises(minutes))
        is_learnt = np.array([group_name(name) in self._evidence.markets for name in minutes.names])
        return np.where(is_learnt[minutes.of_name], 1.0 / (1.0 + np.exp(-log_odds)), 0.0)

    def hours(self, scores: Scores, minutes: Minutes) -> Scores | None:
        return self._hours.of(scores, minutes) if self._hours else None

    def contributions(self, minutes: Minutes) -> tuple[tuple[str, ...], Scores]:
        evidence = self._evidence.fitted
        surprises = evidence.surprises(minutes.to_frame()).astype(np.float32).astype(np.float64)
        of_signs, found = (
            self._slope * self._paths.contributions(surprises),
            np.zeros((len(minutes), len(self.features))),
        )
        for sign, own in zip(evidence.signs, of_signs.T, strict=True):
            found[:, self.features.index(sign.feature.name)] += own
        return self.features, found


def classifier_graph(folder: Path) -> bytes:
    """The graph of a saved classifier, to log odds above a base that its metadata hold."""
    from models.anomaly_classifier import onnx_graph  # noqa: PLC0415 - imports scikit-learn
    from models.anomaly_classifier.detector import AnomalyClassifierDetector  # noqa: PLC0415

    detector = AnomalyClassifierDetector.load(folder)
    graph = onnx_graph.above_base_graph(detector.trees, detector.calibration, len(detector.signs))
    graph.metadata_props.add(key=_BASE, value=repr(onnx_graph.base_of(detector.trees, detector.calibration)))
    graph.metadata_props.add(key=_SLOPE, value=repr(float(detector.calibration.slope)))
    return bytes(graph.SerializeToString())


def classifier_paths(folder: Path) -> dict[str, Any]:
    """The trees of a saved classifier, for its reasons."""
    from models.anomaly_classifier.detector import AnomalyClassifierDetector  # noqa: PLC0415 - imports scikit-learn

    return arrays_of(AnomalyClassifierDetector.load(folder).trees.explainer)
