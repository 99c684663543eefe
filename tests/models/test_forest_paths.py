"""The explainer of a forest equals the one that SHAP builds itself."""

import numpy as np
import pytest
from shap import TreeExplainer
from sklearn.ensemble import IsolationForest

from models.isolation_forest.paths import explainer


@pytest.mark.parametrize(("samples", "share"), [(256, 1.0), (256, 0.5), (2, 1.0)])
def test_the_explainer_is_that_of_shap_bit_for_bit(samples: int, share: float) -> None:
    rows = np.random.default_rng(4).normal(size=(600, 6)).round(1)
    forest = IsolationForest(n_estimators=15, max_samples=samples, max_features=share, random_state=2).fit(rows)
    ours, theirs = explainer(forest), TreeExplainer(forest, feature_perturbation="tree_path_dependent")
    assert np.array_equal(ours.expected_value, theirs.expected_value)
    found, expected = (each.shap_values(rows[:50], check_additivity=False) for each in (ours, theirs))
    assert np.array_equal(found, expected)
    for tree, same in zip(ours.model.trees, theirs.model.trees, strict=True):
        assert np.array_equal(tree.values, same.values)
