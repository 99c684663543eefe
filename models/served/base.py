"""The interface of a detector that is served, and what all of them share."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import onnxruntime

from models.base import DetectorError, Scores
from models.manifest import Manifest
from models.served.minutes import Minutes


class RowScorer(Protocol):
    """Scores and explains minutes by ONNX and compiled kernels: it imports neither scikit-learn nor a deep-learning framework."""

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

    def hours(self, scores: Scores, minutes: Minutes) -> Scores | None:
        """The hours of ordinary tape of each row's symbol between scores as high; None if the training was too short for a calibration."""
        ...

    def contributions(self, minutes: Minutes) -> tuple[tuple[str, ...], Scores]:
        """Names of features, and the contribution of each to every score (rows x features), as the detector's own."""
        ...


def graph_of(folder: Path, name: str) -> Path:
    """The file of the graph of the detector saved in `folder`."""
    return folder / f"{name}.onnx"


def paths_of(folder: Path, name: str) -> Path:
    """The file of the trees that give its reasons."""
    return folder / f"{name}.paths.npz"


class TreeSum:
    """A graph of trees in ONNX Runtime, on one thread, which is fastest for a row.

    Args:
        folder: of the saved detector, with the graph's file; without one the graph is what `make` makes of the folder.
        name: of the detector.

    Raises:
        DetectorError: ONNX Runtime cannot use the graph.
    """

    def __init__(self, folder: Path, name: str, make: Callable[[Path], bytes]) -> None:
        path = graph_of(folder, name)
        graph = path.read_bytes() if path.is_file() else make(folder)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors share no other base
            raise DetectorError(f"{path} cannot be used: {error}. Build the Bento again") from error
        self._input = self._session.get_inputs()[0].name

    def of(self, inputs: Scores) -> Scores:
        """What the trees add up for each row of inputs, which they compare as float32 values."""
        given = {self._input: inputs.astype(np.float32, order="C").astype(np.float64)}
        (out,) = self._session.run(None, given)
        return np.asarray(out[:, 0], dtype=np.float64)

    @property
    def facts(self) -> dict[str, str]:
        """The graph's metadata."""
        return dict(self._session.get_modelmeta().custom_metadata_map)
