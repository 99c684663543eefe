"""Grows scikit-learn's boosted trees on columns that are binned beforehand, which saves most of the time."""

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier

Floats = npt.NDArray[np.float64]
_MOST_BINS = 255
#: Of more rows, scikit-learn draws some to bin them.
_MOST_ROWS = 200_000


def boosted(
    model: HistGradientBoostingClassifier, inputs: Floats, target: npt.NDArray[Any], weight: Floats
) -> HistGradientBoostingClassifier:
    """`model` with the trees that it grows on `inputs`, the same bit for bit.

    For each of a column's 254 weighted quantiles, scikit-learn sorts the column anew. Here it is sorted once and replaced by
    the numbers of its bins, which are few enough to be taken as they are; the thresholds are put back afterwards.

    Args:
        inputs: rows x columns, without missing values.
        target, weight: one a row.
    """
    if len(inputs) > _MOST_ROWS or not weight.all():
        return model.fit(inputs, target, sample_weight=weight)
    binned, bounds = np.empty_like(inputs), np.full((inputs.shape[1], _MOST_BINS), np.inf)
    for at, column in enumerate(inputs.T):
        edges = _edges(column, weight)
        binned[:, at] = np.searchsorted(edges, column)
        filled = np.unique(binned[:, at]).astype(np.int64)[:-1]
        # Empty bins change no split: of several such bounds, the lowest is the one that scikit-learn chooses.
        bounds[at, : filled.size] = edges[filled]
    model.fit(binned, target, sample_weight=weight)
    for predictor in (each for iteration in model._predictors for each in iteration):
        nodes = predictor.nodes
        splits = nodes["is_leaf"] == 0
        nodes["num_threshold"][splits] = bounds[nodes["feature_idx"][splits], nodes["bin_threshold"][splits]]
    return model


def _edges(column: Floats, weight: Floats) -> Floats:
    """The upper bounds of all bins but the last: weighted quantiles, or the middles between few distinct values."""
    # Sorted first, as scikit-learn does: the order of equal values decides the last digits of summed weights.
    order = np.argsort(column)
    column, weight = column[order], weight[order]
    distinct = np.unique(column)
    if distinct.size <= _MOST_BINS:
        return np.asarray((distinct[:-1] + distinct[1:]) / 2)
    return np.unique(_quantiles(column, weight, np.linspace(0, 100, num=_MOST_BINS + 1)[1:-1]))


def _quantiles(column: Floats, weight: Floats, percentiles: Floats) -> Floats:
    """Weighted quantiles of a sorted column, all at once, with the last digits that scikit-learn computes one by one.

    Where a percentile falls on a row, the quantile is the middle between it and the next ("averaged_inverted_cdf", Hyndman and
    Fan 1996).

    Args:
        column, weight: one a row; weights are above zero.
        percentiles: between 0 and 100, without both.
    """
    # Sorted once more, as there: the sort is not stable, and may change the order of equal values again.
    order = np.argsort(column)
    column, summed = column[order], np.cumsum(weight[order])
    wanted = percentiles / 100 * summed[-1]
    last = column.size - 1
    at = np.minimum(np.searchsorted(summed, wanted), last)
    is_between = summed[at] - wanted > np.finfo(np.float64).eps
    return np.asarray(np.where(is_between, column[at], (column[at] + column[np.minimum(at + 1, last)]) / 2))
