"""Trees grown on binned columns are those that scikit-learn grows on the columns themselves."""

from dataclasses import asdict

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from models.anomaly_classifier.boosting import boosted
from models.anomaly_classifier.trees import Trees

ROWS = 800


def columns(rng: np.random.Generator) -> np.ndarray:
    """Of heavy tails, of few values, constant, mostly zero, of integers, and in order."""
    heavy = rng.standard_t(2, size=(5, ROWS))
    integers = rng.integers(0, (400, 256), size=(ROWS, 2))
    often_zero = np.where(heavy[2] > 1, heavy[2], 0.0)
    return np.column_stack([heavy[0], heavy[1].round(1), np.zeros(ROWS), often_zero, integers, np.arange(ROWS) / ROWS])


@threadpool_limits.wrap(limits=1)
@pytest.mark.parametrize(("weights", "classes"), [("equal", 2), ("any", 3), ("two", 2), ("some zero", 2)])
def test_the_trees_are_equal_bit_for_bit(weights: str, classes: int) -> None:
    rng = np.random.default_rng(classes)
    inputs = columns(rng)
    target = np.digitize(inputs[:, 0] * inputs[:, 6] + inputs[:, 4] / 400, [0.3, 0.8][: classes - 1])
    weight = {
        "equal": np.ones(ROWS),
        "any": rng.random(ROWS) + 0.1,
        "two": np.where(target > 0, 5.0, 0.25),
        "some zero": rng.random(ROWS).round(1),
    }[weights]

    def model() -> HistGradientBoostingClassifier:
        return HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=5, early_stopping=False, random_state=3)

    theirs = model().fit(inputs, target, sample_weight=weight)
    ours = boosted(model(), inputs, target, weight)
    expected, found = (asdict(Trees.of([each])) for each in (theirs, ours))
    assert [name for name in expected if not np.array_equal(found[name], expected[name])] == []
    assert np.array_equal(ours.predict_proba(inputs), theirs.predict_proba(inputs))
