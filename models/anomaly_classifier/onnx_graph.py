"""The classifier as one ONNX tree ensemble: surprises in, probability out."""

from typing import Any

import numpy as np
from onnx import helper

from models.anomaly_classifier.learning import Calibration
from models.anomaly_classifier.trees import Trees
from models.forest_onnx import floored
from models.onnx_files import constant, model_of

INPUT, OUTPUT = "surprises", "probability"


def classifier_graph(trees: Trees, calibration: Calibration, inputs: int) -> Any:
    """The model of fitted trees: `surprises` (rows x `inputs`, float32) to `probability` (rows x 1).

    The boosters' mean and the slope of the calibration are folded into the leaves.
    """
    node, is_leaf = _numbered(trees)
    tree = np.repeat(np.arange(trees.root.size), np.diff(np.append(trees.root, trees.feature.size)))
    factor, leaves = calibration.slope / trees.base.size, np.flatnonzero(is_leaf)
    columns: dict[str, Any] = {
        "nodes_treeids": tree.tolist(),
        "nodes_nodeids": node.tolist(),
        "nodes_featureids": trees.feature.tolist(),
        "nodes_values": [float(each) for each in floored(np.where(is_leaf, 0.0, trees.threshold))],
        "nodes_modes": ["LEAF" if leaf else "BRANCH_LEQ" for leaf in is_leaf],
        "nodes_truenodeids": node[trees.left].tolist(),
        "nodes_falsenodeids": node[trees.right].tolist(),
        "target_treeids": tree[leaves].tolist(),
        "target_nodeids": node[leaves].tolist(),
        "target_ids": [0] * leaves.size,
        "target_weights": (trees.value[leaves] * factor).tolist(),
    }
    ensemble = helper.make_node(
        "TreeEnsembleRegressor",
        [INPUT],
        ["above_base"],
        domain="ai.onnx.ml",
        aggregate_function="SUM",
        n_targets=1,
        post_transform="NONE",
        **columns,
    )
    base = np.array(calibration.slope * trees.base.mean() + calibration.offset, np.float32)
    nodes = [
        ensemble,
        helper.make_node("Add", ["above_base", "base"], ["log_odds"]),
        helper.make_node("Sigmoid", ["log_odds"], [OUTPUT]),
    ]
    return model_of("anomaly_classifier", nodes, [constant("base", base)], {INPUT: ["rows", inputs]}, OUTPUT, 1)


def _numbered(trees: Trees) -> tuple[Any, Any]:
    """The number of each node within its tree, and whether it is a leaf."""
    here = np.arange(trees.feature.size)
    sizes = np.diff(np.append(trees.root, here.size))
    return here - np.repeat(trees.root, sizes), trees.left == here
