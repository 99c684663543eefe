"""Residuals of principal components, under a covariance that is shrunk after Ledoit and Wolf."""

import numpy as np

from tapewatch.market.arrays import Array

#: Minutes between two fits, of the window of a fit, and of a residual.
REFIT, FIT, SPAN = 15, 60, 5
#: Symbols of a fit at most: a larger market's quieter symbols get no residual.
MOST_SYMBOLS = 400
_FEWEST_SYMBOLS, _MOST_COMPONENTS, _SYMBOLS_A_COMPONENT = 4, 3, 5


def ledoit_wolf(rows: Array) -> tuple[Array, float]:
    """Covariance of centred rows (observations x symbols), shrunk towards the mean variance times the identity.

    Ledoit and Wolf (2004), "A well-conditioned estimator for large-dimensional covariance matrices", lemma 3.

    Returns: the covariance and the weight of the identity, 0 to 1.
    """
    count, size = rows.shape
    sample = rows.T @ rows / count
    level = np.trace(sample) / size
    distance = ((sample - level * np.eye(size)) ** 2).sum() / size
    squares = ((rows**2).T @ rows**2).sum() / count
    noise = min((squares - (sample**2).sum()) / (count * size), distance)
    weight = float(noise / distance) if distance > 0 else 0.0
    return (1.0 - weight) * sample + weight * level * np.eye(size), weight


def residual_scores(returns: Array, begin: int = 0, end: int | None = None) -> Array:
    """Sum of a symbol's residuals of 5 minutes over its standard deviation; minutes x symbols, NaN where undefined.

    Rows before `begin`, and from `end` on, may be left out as NaN.

    Every 15 minutes the components are fitted to the standardised returns of the 60 minutes before: one component for each
    five symbols, at most three. The residual is what they leave of the standardised return. NaN for a symbol without all 60
    returns or without variation in them, below four such symbols, and until the 5 minutes are full.
    """
    residuals = np.full(returns.shape, np.nan)
    # A block is computed whole, also where the tape ends within it: the rounding of products depends on their shapes.
    last = returns.shape[0] if end is None else min(end, returns.shape[0])
    for start in range(max(-(-FIT // REFIT), begin // REFIT) * REFIT, last, REFIT):
        rows = slice(max(start - SPAN + 1, 0), start + REFIT)
        found = _of_block(returns[start - FIT : start], returns[rows])
        summed = np.lib.stride_tricks.sliding_window_view(found, min(SPAN, found.shape[0]), axis=0).sum(axis=-1)
        residuals[start : start + summed.shape[0]] = summed[: returns.shape[0] - start] / np.sqrt(SPAN)
    return residuals


def _of_block(fit: Array, later: Array) -> Array:
    """Standardised residuals of the rows `later` under components of the rows `fit`."""
    out = np.full(later.shape, np.nan)
    deviation = np.where(np.isfinite(fit).all(axis=0), fit.std(axis=0), 0.0)
    usable = np.flatnonzero(deviation > 0)
    if usable.size > MOST_SYMBOLS:
        active = (fit[:, usable] != 0).sum(axis=0)
        usable = np.sort(usable[np.argsort(-active, kind="stable")[:MOST_SYMBOLS]])
    if usable.size < _FEWEST_SYMBOLS:
        return out
    mean, scale = fit[:, usable].mean(axis=0), deviation[usable]
    covariance, _ = ledoit_wolf((fit[:, usable] - mean) / scale)
    values, vectors = np.linalg.eigh(covariance)
    kept = min(max(usable.size // _SYMBOLS_A_COMPONENT, 1), _MOST_COMPONENTS)
    values, vectors = values[-kept:], vectors[:, -kept:]
    variance = np.diag(covariance) - (vectors**2) @ values
    standard = (later[:, usable] - mean) / scale
    out[:, usable] = (standard - standard @ vectors @ vectors.T) / np.sqrt(variance)
    return out
