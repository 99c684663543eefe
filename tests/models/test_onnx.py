"""ONNX graphs score what their detectors score."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import IsolationForest

from models.base import DetectorError
from models.isolation_forest.detector import IsolationForestDetector
from models.isolation_forest.onnx_graph import forest_graph
from models.lstm_autoencoder.forward import Weights, restored
from models.lstm_autoencoder.onnx_graph import autoencoder_graph
from models.onnx_export import export_onnx
from models.onnx_files import session, write_checked


def weights(inputs: int, units: int, code: int, rng: np.random.Generator) -> Weights:
    shapes = [
        (2 * inputs, 4 * units), (units, 4 * units), (4 * units,), (units, code), (code,),
        (code, 4 * units), (units, 4 * units), (4 * units,), (units, inputs), (inputs,),
    ]  # fmt: skip
    return Weights(*(rng.normal(size=shape).astype(np.float32) for shape in shapes))


def test_the_forest_with_leaves_of_many_samples_ties_and_chosen_features() -> None:
    rng = np.random.default_rng(0)
    data = np.round(rng.normal(size=(600, 5)), 1)
    forest = IsolationForest(n_estimators=50, max_samples=300, max_features=3, random_state=1).fit(data)
    rows = np.concatenate([data, 10 * rng.normal(size=(200, 5))]).astype(np.float32)
    (score,) = session(forest_graph(forest)).run(None, {"evidence": rows})
    assert np.abs(score[:, 0] + forest.score_samples(rows)).max() < 1e-5


def test_the_autoencoder_with_masked_minutes() -> None:
    rng = np.random.default_rng(0)
    mask = (rng.random((100, 6, 4)) > 0.3).astype(np.float32)
    values = mask * rng.normal(size=mask.shape).astype(np.float32)
    trained = weights(4, 5, 3, rng)
    graph = session(autoencoder_graph(trained, 6))
    (got,) = graph.run(None, {"values": values, "mask": mask})
    assert np.abs(got - restored(trained, values, mask)).max() < 1e-5
    (one,) = graph.run(None, {"values": values[:1], "mask": mask[:1]})
    assert np.abs(one - got[:1]).max() < 1e-5


def test_the_registered_forest_is_exported(
    detector: IsolationForestDetector, unseen_rows: pl.DataFrame, tmp_path: Path
) -> None:
    (off,) = export_onnx(detector, unseen_rows, tmp_path).values()
    assert off < 1e-5
    graph = session((tmp_path / "isolation_forest.onnx").read_bytes())
    (score,) = graph.run(None, {"evidence": detector.inputs(unseen_rows).astype(np.float32)})
    assert np.abs(score[:, 0] - detector.score(unseen_rows)).max() < 1e-5


def test_a_graph_that_differs_is_not_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    mask = np.ones((3, 6, 4), np.float32)
    graph = autoencoder_graph(weights(4, 5, 3, rng), 6)
    with pytest.raises(DetectorError, match="differs from the detector by"):
        write_checked(graph, tmp_path / "one.onnx", {"values": mask, "mask": mask}, np.zeros((3, 4)))
    assert not (tmp_path / "one.onnx").exists()
