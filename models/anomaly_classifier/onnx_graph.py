"""The classifier as one ONNX tree ensemble: surprises in, probability out."""

from typing import Any

import numpy as np
from onnx import helper

from models.anomaly_classifier.learning import Calibration
from models.anomaly_classifier.trees import Trees
from models.onnx_files import constant, model_of, trees_of

INPUT, ABOVE, OUTPUT = "surprises", "above_base", "probability"


def classifier_graph(trees: Trees, calibration: Calibration, inputs: int) -> Any:
    """The model of fitted trees: `surprises` (rows x `inputs`, float32) to `probability` (rows x 1).

    The boosters' mean and the slope of the calibration are folded into the leaves.
    """
    base = np.array(base_of(trees, calibration), np.float32)
    nodes = [
        trees_of(_columns(trees, calibration), INPUT, ABOVE),
        helper.make_node("Add", [ABOVE, "base"], ["log_odds"]),
        helper.make_node("Sigmoid", ["log_odds"], [OUTPUT]),
    ]
    return model_of("anomaly_classifier", nodes, [constant("base", base)], {INPUT: ["rows", inputs]}, OUTPUT, 1)


def above_base_graph(trees: Trees, calibration: Calibration, inputs: int) -> Any:
    """The same to how far the log odds are above `base_of`; `surprises` is float64 and holds float32 values.

    In float32 a probability close to 1 would tell nothing of its log odds.
    """
    nodes = [trees_of(_columns(trees, calibration), INPUT, ABOVE, is_double=True)]
    return model_of("anomaly_classifier", nodes, [], {INPUT: ["rows", inputs]}, ABOVE, 1, is_double=True)


def base_of(trees: Trees, calibration: Calibration) -> float:
    """The log odds to which the leaves add."""
    return float(calibration.slope * trees.base.mean() + calibration.offset)


def _columns(trees: Trees, calibration: Calibration) -> dict[str, Any]:
    node, is_leaf = _numbered(trees)
    tree = np.repeat(np.arange(trees.root.size), np.diff(np.append(trees.root, trees.feature.size)))
    factor, leaves = calibration.slope / trees.base.size, np.flatnonzero(is_leaf)
    return {
        "nodes_treeids": tree.tolist(),
        "nodes_nodeids": node.tolist(),
        "nodes_featureids": trees.feature.tolist(),
        "nodes_values": np.where(is_leaf, 0.0, trees.threshold).tolist(),
        "nodes_modes": ["LEAF" if leaf else "BRANCH_LEQ" for leaf in is_leaf],
        "nodes_truenodeids": node[trees.left].tolist(),
        "nodes_falsenodeids": node[trees.right].tolist(),
        "target_treeids": tree[leaves].tolist(),
        "target_nodeids": node[leaves].tolist(),
        "target_ids": [0] * leaves.size,
        "target_weights": (trees.value[leaves] * factor).tolist(),
    }


def _numbered(trees: Trees) -> tuple[Any, Any]:
    """The number of each node within its tree, and whether it is a leaf."""
    here = np.arange(trees.feature.size)
    sizes = np.diff(np.append(trees.root, here.size))
    return here - np.repeat(trees.root, sizes), trees.left == here
