"""How an ensemble's margin is divided among the features that its members read."""

from collections.abc import Sequence

import numpy as np

from models.base import Scores

#: Names of features, and a member's contributions (rows x features).
Contributions = tuple[tuple[str, ...], Scores]


def parts_of(members: Sequence[Contributions], levels: Scores) -> Contributions:
    """Names of features, and their parts of each row's margin (rows x features).

    A member's part, its level over the number of members that judge, is divided among the features that raise its score, in proportion
    to its own contributions.

    Args:
        members: of each member; no names of one that is absent.
        levels: rows x members; NaN where one does not judge.
    """
    features = tuple(dict.fromkeys(name for names, _ in members for name in names))
    parts = np.nan_to_num(levels) / np.maximum(np.isfinite(levels).sum(axis=1, keepdims=True), 1)
    found = np.zeros((len(levels), len(features)))
    for (names, contributions), part in zip(members, parts.T, strict=True):
        if names:
            found[:, [features.index(name) for name in names]] += part[:, None] * _shares(contributions)
    return features, found


def _shares(contributions: Scores) -> Scores:
    """Rows x features, not negative, each row adds up to 1."""
    raising = np.maximum(contributions, 0.0)
    total = raising.sum(axis=1, keepdims=True)
    # Where nothing raises the score, all features share alike.
    return np.asarray(np.where(total > 0, raising / np.where(total > 0, total, 1.0), 1.0 / contributions.shape[1]))
