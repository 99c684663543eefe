"""Writes a detector's ONNX graph beside its files, once it is shown to score the same."""

from pathlib import Path

import numpy as np
import polars as pl

from models.anomaly_classifier import onnx_graph as classifier_graph
from models.anomaly_classifier.detector import AnomalyClassifierDetector
from models.anomaly_classifier.learning import probability
from models.base import Detector
from models.ensemble import onnx_graph as ensemble_graph
from models.ensemble.detector import EnsembleDetector
from models.ensemble.storage import WHOLE
from models.isolation_forest import onnx_graph as forest_graph
from models.isolation_forest.detector import IsolationForestDetector
from models.lstm_autoencoder import onnx_graph
from models.lstm_autoencoder.detector import LstmAutoencoderDetector
from models.onnx_files import write_checked
from models.profile import group_names


def export_onnx(detector: Detector, rows: pl.DataFrame, folder: Path) -> dict[str, float]:
    """Write the graphs of `detector` into `folder`, checked on `rows`.

    A graph starts from the detector's scaled inputs: evidence for the forest, surprises for the classifier, windows of scaled values and
    their mask for the autoencoder, whose graph gives the restored minute. An ensemble has its members' graphs, and one from their
    scores and the market to its own.

    Returns:
        The greatest difference from the detector for each file; empty for a detector that has no graph.

    Raises:
        DetectorError: a graph differs by over 1e-5; it is not written.
    """
    if isinstance(detector, IsolationForestDetector):
        forest, inputs = detector.forest, detector.inputs(rows).astype(np.float32)
        name, model, given = "isolation_forest.onnx", forest_graph.forest_graph(forest), {forest_graph.INPUT: inputs}
        expected = -forest.score_samples(inputs)
    elif isinstance(detector, LstmAutoencoderDetector):
        values, mask, expected = detector.windows(rows)
        name, model = "lstm_autoencoder.onnx", onnx_graph.autoencoder_graph(detector.weights, values.shape[1])
        given = {onnx_graph.VALUES: values, onnx_graph.MASK: mask}
    elif isinstance(detector, AnomalyClassifierDetector):
        surprises = detector.inputs(rows)
        name, given = "anomaly_classifier.onnx", {classifier_graph.INPUT: surprises.astype(np.float32)}
        model = classifier_graph.classifier_graph(detector.trees, detector.calibration, surprises.shape[1])
        expected = probability(detector.log_odds(surprises))
    elif isinstance(detector, EnsembleDetector):
        return _export_ensemble(detector, rows, folder)
    else:
        return {}
    return {name: write_checked(model, folder / name, given, expected)}


def _export_ensemble(detector: EnsembleDetector, rows: pl.DataFrame, folder: Path) -> dict[str, float]:
    found: dict[str, float] = {}
    for member in detector.members:
        found |= export_onnx(member, rows, folder)
    scores = detector.member_scores(rows).astype(np.float32)
    model = ensemble_graph.ensemble_graph(detector.levels, [member.name for member in detector.members], WHOLE)
    numbers = {name: at for at, name in enumerate(ensemble_graph.markets_of(detector.levels, WHOLE))}
    market = [[numbers.get(name, len(numbers) - 1)] for name in group_names(rows["symbol"])]
    given = {ensemble_graph.SCORES: scores, ensemble_graph.MARKET: np.array(market, np.float32).reshape(-1, 1)}
    expected = detector.score_of_members(scores.astype(np.float64), rows["symbol"])
    return found | {"ensemble.onnx": write_checked(model, folder / "ensemble.onnx", given, expected)}
