"""The Isolation Forest as one ONNX tree ensemble: evidence in, score out.

scikit-learn's score is 2 ** -(mean path length / c): a tree's path length is folded into its leaves (depth plus the average path
below a leaf of several samples), the ensemble sums them, and one power follows.
"""

from typing import Any

import numpy as np
from onnx import helper
from sklearn.ensemble import IsolationForest

from models.isolation_forest.paths import average_path
from models.onnx_files import constant, model_of, trees_of

INPUT, LENGTH, OUTPUT = "evidence", "length", "score"


def forest_graph(forest: IsolationForest) -> Any:
    """The model of a fitted forest: `evidence` (rows x inputs, float32) to `score` (rows x 1), as `-forest.score_samples`."""
    nodes = [
        trees_of(_columns(forest), INPUT, LENGTH),
        helper.make_node("Neg", [LENGTH], ["shorter"]),
        helper.make_node("Pow", ["two", "shorter"], [OUTPUT]),
    ]
    two = constant("two", np.array(2.0, np.float32))
    return model_of("isolation_forest", nodes, [two], {INPUT: ["rows", forest.n_features_in_]}, OUTPUT, 1)


def length_graph(forest: IsolationForest) -> Any:
    """The same to `length`, of which the score is 2 ** -length: `evidence` is float64 and holds float32 values, as trees compare them."""
    nodes = [trees_of(_columns(forest), INPUT, LENGTH, is_double=True)]
    inputs = {INPUT: ["rows", forest.n_features_in_]}
    return model_of("isolation_forest", nodes, [], inputs, LENGTH, 1, is_double=True)


def _columns(forest: IsolationForest) -> dict[str, Any]:
    scale = average_path(np.array([forest._max_samples]))[0] * len(forest.estimators_)
    columns: dict[str, Any] = {}
    for number, (tree, features) in enumerate(zip(forest.estimators_, forest.estimators_features_, strict=True)):
        for name, values in _nodes(tree.tree_, features, number, scale).items():
            columns.setdefault(name, []).extend(values)
    return columns


def _nodes(tree: Any, features: Any, number: int, scale: float) -> dict[str, list[Any]]:
    """The attributes of one tree: a leaf's weight is its path length over `scale`."""
    count = tree.node_count
    is_leaf = tree.children_left < 0
    depth = np.zeros(count)
    # Children follow their parent.
    for node in np.flatnonzero(~is_leaf):
        depth[[tree.children_left[node], tree.children_right[node]]] = depth[node] + 1
    leaves = np.flatnonzero(is_leaf)
    weights = (depth[leaves] + average_path(tree.n_node_samples[leaves])) / scale
    return {
        "nodes_treeids": [number] * count,
        "nodes_nodeids": list(range(count)),
        "nodes_featureids": [
            int(each) for each in np.where(is_leaf, 0, np.asarray(features)[np.maximum(tree.feature, 0)])
        ],
        "nodes_values": np.where(is_leaf, 0.0, tree.threshold).tolist(),
        "nodes_modes": ["LEAF" if leaf else "BRANCH_LEQ" for leaf in is_leaf],
        "nodes_truenodeids": [int(each) for each in np.maximum(tree.children_left, 0)],
        "nodes_falsenodeids": [int(each) for each in np.maximum(tree.children_right, 0)],
        "target_treeids": [number] * leaves.size,
        "target_nodeids": [int(each) for each in leaves],
        "target_ids": [0] * leaves.size,
        "target_weights": [float(each) for each in weights],
    }
