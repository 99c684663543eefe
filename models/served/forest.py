"""The Isolation Forest, served."""

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnxruntime
import polars as pl

from models.base import Detector, DetectorError, Scores
from models.evidence import Evidence
from models.manifest import Manifest
from models.served.base import graph_of
from models.served.evidence import EvidenceArrays
from models.served.minutes import Minutes

NAME = "isolation_forest"
_PROFILE, _TAILS = "profile.parquet", "tails.parquet"
#: Rows on which a new graph is compared with the forest.
_PARITY_ROWS = 512


@dataclass(frozen=True)
class ForestScorer:
    """Evidence in NumPy, the trees in ONNX Runtime."""

    manifest: Manifest
    folder: Path
    _evidence: EvidenceArrays
    _session: Any
    _explainer: list[Detector] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """From the folder that `IsolationForestDetector.save` wrote. Without a graph in it, one is made; that imports scikit-learn.

        Raises:
            DetectorError: the files do not fit this code, or have changed.
        """
        manifest = Manifest.read(folder, detector=NAME)
        evidence = Evidence.from_frames(*(pl.read_parquet(folder / name, glob=False) for name in (_PROFILE, _TAILS)))
        path = graph_of(folder, NAME)
        graph = path.read_bytes() if path.is_file() else forest_graph(folder)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        try:
            session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors share no other base
            raise DetectorError(f"{path} cannot be used: {error}. Build the Bento again") from error
        return cls(manifest, folder, EvidenceArrays(evidence), session)

    @property
    def features(self) -> tuple[str, ...]:
        return tuple(self.manifest.features)

    def score(self, minutes: Minutes) -> Scores:
        if not len(minutes):
            return np.empty(0)
        inputs = self._evidence.inputs(minutes).astype(np.float32)
        (out,) = self._session.run(None, {self._session.get_inputs()[0].name: inputs})
        return np.asarray(out[:, 0], dtype=np.float64)

    def hours(self, scores: Scores) -> Scores | None:  # noqa: ARG002
        return None

    def explain(self, minutes: Minutes) -> pl.DataFrame:
        with self._lock:
            if not self._explainer:
                from models.isolation_forest import IsolationForestDetector  # noqa: PLC0415 - scikit-learn and SHAP

                self._explainer.append(IsolationForestDetector.load(self.folder))
        # Minutes may hold a symbol's minute twice, so a row's position stands for its time.
        position = pl.int_range(pl.len(), dtype=pl.Int64).cast(pl.Datetime("ns", "UTC"))
        reasons = self._explainer[0].explain(minutes.to_frame().with_columns(event_time=position))
        return reasons.select(
            pl.col("event_time").dt.epoch("ns").alias("row"), pl.col("feature").cast(pl.String), "value", "shap_value"
        )


def forest_graph(folder: Path) -> bytes:
    """The graph of a saved forest, checked against it on made-up evidence.

    Raises:
        DetectorError: the graph differs from the forest.
    """
    import tempfile  # noqa: PLC0415

    from models.forest_onnx import INPUT  # noqa: PLC0415 - imports scikit-learn
    from models.forest_onnx import forest_graph as graph_of_trees  # noqa: PLC0415
    from models.isolation_forest import IsolationForestDetector  # noqa: PLC0415
    from models.onnx_files import write_checked  # noqa: PLC0415

    forest = IsolationForestDetector.load(folder).forest
    # Evidence is mostly small, and at most 20.
    inputs = np.random.default_rng(0).gamma(0.5, 4.0, (_PARITY_ROWS, forest.n_features_in_)).clip(0.0, 20.0)
    given = inputs.astype(np.float32)
    with tempfile.TemporaryDirectory() as target:
        path = Path(target) / "graph.onnx"
        write_checked(graph_of_trees(forest), path, {INPUT: given}, -forest.score_samples(given))
        return path.read_bytes()
