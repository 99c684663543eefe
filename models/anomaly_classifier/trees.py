"""Boosted trees as flat arrays: scored, explained and saved without the library that grew them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from shap import TreeExplainer

from models.anomaly_classifier.walking import leaves_of

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
#: Rows whose paths are followed at once.
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Trees:
    """Nodes of all trees one after another, and the output to which each tree adds.

    A row at a node goes left if its feature is at or below the threshold. A leaf is its own left and right.

    Attributes:
        feature, threshold, left, right, value, cover: one a node; `value` counts at leaves, `cover` is the number of training rows.
        root, output: one a tree.
        base: one an output, to which the leaves add.
    """

    feature: Indices
    threshold: Floats
    left: Indices
    right: Indices
    value: Floats
    cover: Floats
    root: Indices
    output: Indices
    base: Floats

    @classmethod
    def of(cls, boosted: Sequence[Any]) -> Self:
        """The trees of fitted scikit-learn `HistGradientBoosting` models, whose outputs follow each other.

        Args:
            boosted: models whose inputs have no missing values and no categories.
        """
        nodes: list[tuple[Any, int]] = []
        roots: list[int] = []
        outputs: list[int] = []
        bases: list[Floats] = []
        size = 0
        for model in boosted:
            first = sum(base.size for base in bases)
            bases.append(np.ravel(model._baseline_prediction).astype(np.float64))
            for iteration in model._predictors:
                for output, predictor in enumerate(iteration):
                    own = predictor.nodes
                    nodes.append((own, size))
                    roots.append(size)
                    outputs.append(first + output)
                    size += own.size
        at = [np.arange(own.size) + start for own, start in nodes]
        leaf = np.concatenate([own["is_leaf"].astype(bool) for own, _ in nodes])

        def joined(name: str, *, moved: bool = False) -> Any:
            return np.concatenate([own[name].astype(np.int64) + start if moved else own[name] for own, start in nodes])

        here = np.concatenate(at)
        return cls(
            np.where(leaf, 0, joined("feature_idx")).astype(np.int64),
            np.where(leaf, np.inf, joined("num_threshold")).astype(np.float64),
            np.where(leaf, here, joined("left", moved=True)).astype(np.int64),
            np.where(leaf, here, joined("right", moved=True)).astype(np.int64),
            np.where(leaf, joined("value"), 0.0).astype(np.float64),
            joined("count").astype(np.float64),
            np.array(roots, dtype=np.int64),
            np.array(outputs, dtype=np.int64),
            np.concatenate(bases),
        )

    def margins(self, inputs: Floats) -> Floats:
        """The sum of leaves and base of each output: rows x outputs."""
        return np.concatenate(
            [np.empty((0, self.base.size)), *(self._margins(inputs[i : i + _ROWS_AT_ONCE]) for i in range(0, len(inputs), _ROWS_AT_ONCE))]
        )  # fmt: skip

    def _margins(self, inputs: Floats) -> Floats:
        node = leaves_of(np.ascontiguousarray(inputs), self.feature, self.threshold, self.left, self.right, self.root)
        leaves, margins = self.value[node], np.tile(self.base, (len(inputs), 1))
        for output in range(self.base.size):
            margins[:, output] += leaves[:, self.output == output].sum(axis=1)
        return margins

    def contributions(self, inputs: Floats) -> tuple[Floats, float]:
        """SHAP values of the mean of the outputs (rows x features), and what they add to (Lundberg et al. 2020, path-dependent)."""
        if not len(inputs):
            return np.empty((0, inputs.shape[1])), self._expected
        found = np.asarray(self.explainer.shap_values(inputs, check_additivity=False), dtype=np.float64)
        return found.reshape(len(inputs), -1), self._expected

    def improvements(self, features: int) -> Floats:
        """By how much the splits on each feature part the trees' values: the decrease of squared error (Friedman 2001, eq. 35).

        A split into m and n training rows, whose mean values differ by d, counts m n / (m + n) d².

        Args:
            features: how many inputs there are.
        """
        here, mean, found = np.arange(self.feature.size), self.value.copy(), np.zeros(features)
        # A node comes before its children.
        for at in here[self.left != here][::-1]:
            left, right = self.left[at], self.right[at]
            rows = self.cover[left] + self.cover[right]
            mean[at] = (self.cover[left] * mean[left] + self.cover[right] * mean[right]) / rows
            found[self.feature[at]] += self.cover[left] * self.cover[right] / rows * (mean[left] - mean[right]) ** 2
        return found

    @property
    def _expected(self) -> float:
        return float(np.ravel(self.explainer.expected_value)[0])

    @cached_property
    def explainer(self) -> Any:
        """SHAP's explainer of the mean of the outputs."""
        ends = np.append(self.root[1:], self.feature.size)
        trees = [self._as_shap(start, end) for start, end in zip(self.root, ends, strict=True)]
        return TreeExplainer(
            {"trees": trees, "base_offset": float(self.base.mean())}, feature_perturbation="tree_path_dependent"
        )

    def _as_shap(self, start: int, end: int) -> dict[str, Any]:
        own = slice(int(start), int(end))
        is_leaf = self.left[own] == np.arange(start, end)
        left, right = (np.where(is_leaf, -1, each[own] - start).astype(np.int32) for each in (self.left, self.right))
        return {
            "children_left": left,
            "children_right": right,
            "children_default": left,
            "features": np.where(is_leaf, -2, self.feature[own]).astype(np.int32),
            "thresholds": np.where(is_leaf, -2.0, self.threshold[own]),
            "values": (self.value[own] / self.base.size)[:, None],
            "node_sample_weight": self.cover[own],
        }

    def arrays(self, prefix: str) -> dict[str, Any]:
        """The arrays by name, for `numpy.savez`."""
        return {f"{prefix}{name}": np.asarray(values) for name, values in asdict(self).items()}

    @classmethod
    def of_arrays(cls, file: Any, prefix: str) -> Self:
        """The trees that `arrays` gave. Raises KeyError for a missing array."""
        return cls(**{name: file[f"{prefix}{name}"] for name in cls.__dataclass_fields__})
