"""Trees as arrays: margins and SHAP values against scikit-learn and against Shapley's definition."""

from itertools import combinations
from math import factorial

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from models.anomaly_classifier.trees import Trees

RNG = np.random.default_rng(5)
INPUTS = RNG.normal(size=(600, 4))
IS_ONE = INPUTS[:, 0] * INPUTS[:, 1] + 0.3 * INPUTS[:, 2] > 0.2


def grown(iterations: int, seed: int) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(
        max_iter=iterations, max_leaf_nodes=6, early_stopping=False, random_state=seed
    ).fit(INPUTS, IS_ONE)


@pytest.mark.long
def test_margins_are_those_of_the_library() -> None:
    boosted = [grown(12, 1), grown(7, 2)]
    margins = Trees.of(boosted).margins(INPUTS)
    for output, model in enumerate(boosted):
        assert margins[:, output] == pytest.approx(model.decision_function(INPUTS), abs=1e-12)


def test_classes_are_outputs() -> None:
    classes = np.digitize(INPUTS[:, 0], [-0.5, 0.5])
    model = HistGradientBoostingClassifier(max_iter=5, early_stopping=False).fit(INPUTS, classes)
    assert Trees.of([model]).margins(INPUTS) == pytest.approx(model.decision_function(INPUTS), abs=1e-12)


def test_contributions_are_shapley_values_and_add_up_to_the_margin() -> None:
    trees, row = Trees.of([grown(3, 1), grown(2, 2)]), INPUTS[:1]
    found, base = trees.contributions(INPUTS[:50])
    assert found.sum(axis=1) + base == pytest.approx(trees.margins(INPUTS[:50]).mean(axis=1), abs=1e-9)
    for feature in range(4):
        others = [each for each in range(4) if each != feature]
        value = 0.0
        for size in range(4):
            weight = factorial(size) * factorial(3 - size) / factorial(4)
            for known in combinations(others, size):
                value += weight * (expected(trees, row[0], {*known, feature}) - expected(trees, row[0], set(known)))
        assert found[0, feature] == pytest.approx(value, abs=1e-9)


@pytest.mark.long
def test_improvements_are_the_gains_by_which_the_library_chooses_splits() -> None:
    # With squared errors the library's gain is Friedman's improvement.
    model = HistGradientBoostingRegressor(max_iter=3, max_leaf_nodes=6, early_stopping=False, learning_rate=1.0)
    trees = Trees.of([model.fit(INPUTS, INPUTS[:, 0] * INPUTS[:, 1] + 0.3 * INPUTS[:, 2])])
    gains = np.zeros(4)
    for nodes in (each.nodes for iteration in model._predictors for each in iteration):
        splits = nodes[nodes["is_leaf"] == 0]
        np.add.at(gains, splits["feature_idx"], splits["gain"])
    assert trees.improvements(4) == pytest.approx(gains, rel=1e-4, abs=1e-4)


def expected(trees: Trees, row: np.ndarray, known: set[int]) -> float:
    """The mean margin if only some features are known: at the others both ways count, by their training rows."""

    def below(node: int) -> float:
        left, right = trees.left[node], trees.right[node]
        if left == node:
            return float(trees.value[node])
        feature = int(trees.feature[node])
        if feature in known:
            return below(left if row[feature] <= trees.threshold[node] else right)
        cover = trees.cover[[left, right]]
        return float((cover[0] * below(left) + cover[1] * below(right)) / cover.sum())

    return float(trees.base.mean() + sum(below(int(root)) for root in trees.root) / trees.base.size)


def test_no_rows_have_no_margins() -> None:
    trees = Trees.of([grown(2, 1)])
    assert trees.margins(INPUTS[:0]).shape == (0, 1)
    assert trees.contributions(INPUTS[:0])[0].shape == (0, 4)
