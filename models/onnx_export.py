"""Writes a detector's ONNX graph beside its files, once it is shown to score the same."""

from pathlib import Path

import numpy as np
import polars as pl

from models import forest_onnx
from models.base import Detector
from models.isolation_forest import IsolationForestDetector
from models.lstm_autoencoder import onnx_graph
from models.lstm_autoencoder.detector import LstmAutoencoderDetector
from models.onnx_files import write_checked


def export_onnx(detector: Detector, rows: pl.DataFrame, folder: Path) -> dict[str, float]:
    """Write the graphs of `detector` into `folder`, checked on `rows`.

    A graph starts from the detector's scaled inputs: evidence for the forest, windows of scaled values and their mask for the
    autoencoder, whose graph gives the restored minute.

    Returns:
        The greatest difference from the detector for each file; empty for a detector that has no graph.

    Raises:
        DetectorError: a graph differs by over 1e-5; it is not written.
    """
    if isinstance(detector, IsolationForestDetector):
        forest, inputs = detector.forest, detector.inputs(rows).astype(np.float32)
        name, model, given = "isolation_forest.onnx", forest_onnx.forest_graph(forest), {forest_onnx.INPUT: inputs}
        expected = -forest.score_samples(inputs)
    elif isinstance(detector, LstmAutoencoderDetector):
        values, mask, expected = detector.windows(rows)
        name, model = "lstm_autoencoder.onnx", onnx_graph.autoencoder_graph(detector.weights, values.shape[1])
        given = {onnx_graph.VALUES: values, onnx_graph.MASK: mask}
    else:
        return {}
    return {name: write_checked(model, folder / name, given, expected)}
