"""The compiled walk of rows down boosted trees."""

import numpy as np
import numpy.typing as npt

from tapewatch.market.compiled import njit

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


@njit(cache=True, nogil=True)
def leaves_of(
    inputs: Floats, feature: Indices, threshold: Floats, left: Indices, right: Indices, root: Indices
) -> Indices:
    """The leaf of each row in each tree (rows x trees), by the nodes of `Trees`."""
    found = np.empty((inputs.shape[0], root.size), dtype=np.int64)
    for row in range(inputs.shape[0]):
        for tree in range(root.size):
            node = root[tree]
            while left[node] != node:
                node = left[node] if inputs[row, feature[node]] <= threshold[node] else right[node]
            found[row, tree] = node
    return found
