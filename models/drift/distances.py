"""Distances between two samples of one measure: effect sizes, which do not grow with the number of rows."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_BINS = 10
#: Least share of a bin, so that an empty one gives a large but finite index.
_LEAST = 1e-4


def stability_index(reference: Floats, current: Floats, bins: int = _BINS) -> float:
    """Population stability index: the sum of (p - q) ln(p / q) over bins with equal shares of the reference.

    Values of a bin's edge belong to the bin below. By custom, under 0.1 is no change and over 0.25 a large one.

    Args:
        reference, current: finite values, at least one each.
        bins: of the reference; equal edges are one bin less.
    """
    edges = np.unique(np.quantile(reference, np.linspace(0, 1, bins + 1)[1:-1]))
    p, q = (
        np.maximum(np.bincount(np.searchsorted(edges, each, side="left"), minlength=edges.size + 1) / each.size, _LEAST)
        for each in (current, reference)
    )
    return float(np.sum((p - q) * np.log(p / q)))


def kolmogorov_smirnov(reference: Floats, current: Floats) -> float:
    """The greatest difference of the two distribution functions."""
    every = np.concatenate([reference, current])
    shares = [np.searchsorted(np.sort(each), every, side="right") / each.size for each in (reference, current)]
    return float(np.abs(shares[0] - shares[1]).max())


def wasserstein(reference: Floats, current: Floats) -> float:
    """The mean distance by which values must move, in interquartile ranges of the reference (or standard deviations, or 1)."""
    every = np.sort(np.concatenate([reference, current]))
    shares = [np.searchsorted(np.sort(each), every[:-1], side="right") / each.size for each in (reference, current)]
    moved = float(np.sum(np.abs(shares[0] - shares[1]) * np.diff(every)))
    low, high = np.quantile(reference, [0.25, 0.75])
    return moved / (float(high - low) or float(reference.std()) or 1.0)
