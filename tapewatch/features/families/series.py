"""Measures of a series of closes: fractional differences, entropy of directions, structural breaks.

Functions take the log closes of one symbol's part of a day, NaN where a close has no logarithm, and return one value a bar:
NaN until its window is full, and where the window holds a NaN. Values before `begin` may be left out as NaN: each depends on its
window alone.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tapewatch.market.arrays import Array
from tapewatch.market.compiled import njit

#: Order of the fractional difference, and the weight below which its window ends.
ORDER, SMALLEST_WEIGHT = 0.4, 1e-3
#: Steps, or closes, of the window of entropies and breaks, and fewest closes of a Dickey-Fuller regression.
WINDOW, FEWEST_CLOSES = 60, 20
#: Squared 5 % bound of Chu, Stinchcombe and White's statistic for a break at the first moment.
_BREAK_BOUND = 4.6
#: 5 % bound of the Dickey-Fuller statistic with a constant in long series (MacKinnon 2010).
STATIONARY_BOUND = -2.86154
_ROUNDING = 1e-12

compiled = njit(cache=True, nogil=True, error_model="numpy")


def fractional_weights(order: float = ORDER, smallest: float = SMALLEST_WEIGHT) -> npt.NDArray[np.float64]:
    """Weights of the fixed-width fractional difference, latest first (López de Prado 2018, section 5.4.2)."""
    weights = [1.0]
    while abs(following := -weights[-1] * (order - len(weights) + 1) / len(weights)) >= smallest:
        weights.append(following)
    return np.array(weights)


@compiled
def weighted_sums(values: Array, weights: Array, begin: int = 0) -> Array:
    """Sum of the last values by `weights`, latest first."""
    out = np.full(values.size, np.nan)
    for at in range(max(weights.size - 1, begin), values.size):
        total = 0.0
        for back in range(weights.size):
            total += weights[back] * values[at - back]
        out[at] = total
    return out


def dickey_fuller(values: npt.NDArray[np.float64], lags: int = 1) -> float:
    """Augmented Dickey-Fuller statistic with a constant: t of the level in a regression of the change on level and `lags` changes.

    NaN for too few values and where they do not vary.
    """
    changes = np.diff(values)
    lagged = [changes[lags - back - 1 : len(changes) - back - 1] for back in range(lags)]
    target = changes[lags:]
    regressors = np.column_stack([values[lags:-1], *lagged, np.ones(len(target))])
    freedom = len(target) - regressors.shape[1]
    if freedom < 1 or np.linalg.matrix_rank(regressors) < regressors.shape[1]:
        return float("nan")
    found, residual, *_ = np.linalg.lstsq(regressors, target)
    error = residual[0] / freedom * np.linalg.inv(regressors.T @ regressors)[0, 0]
    return float(found[0] / np.sqrt(error)) if error > 0 else float("nan")


def smallest_stationary_order(logs: npt.NDArray[np.float64], orders: Sequence[float]) -> float | None:
    """The smallest of `orders` at which the fractional difference of `logs` is stationary at 5 %; None if none is.

    By the augmented Dickey-Fuller test with a constant and one lag (López de Prado 2018, section 5.5). It looks at the whole
    series, so an order for a day is to be chosen from days before.
    """
    for order in sorted(orders):
        series = weighted_sums(logs, fractional_weights(order))
        if dickey_fuller(series[np.isfinite(series)]) < STATIONARY_BOUND:
            return order
    return None


@compiled
def entropies(logs: Array, begin: int = 0) -> tuple[Array, Array, Array]:
    """Shannon entropy, Lempel-Ziv complexity and Kontoyiannis' entropy rate of the directions of the last 60 steps.

    A step goes down, stays or goes up. After López de Prado (2018), sections 18.2 and 18.4: Shannon in bits; the number of
    phrases of Lempel and Ziv (1978) over 60; Kontoyiannis (1998) in bits from the longest matches, window growing.
    """
    shannon, complexity, rate = np.full((3, logs.size), np.nan)
    directions = np.zeros(logs.size, dtype=np.int64)
    known = 0
    for at in range(1, logs.size):
        step = logs[at] - logs[at - 1]
        directions[at] = 1 + (step > 0.0) - (step < 0.0)
        known = 0 if np.isnan(step) else known + 1
        if known >= WINDOW and at >= begin:
            message = directions[at - WINDOW + 1 : at + 1]
            shannon[at], complexity[at], rate[at] = _shannon(message), _phrases(message) / WINDOW, _match_rate(message)
    return shannon, complexity, rate


@compiled
def _shannon(message: Array) -> float:
    total = 0.0
    for direction in range(3):
        share = (message == direction).sum() / message.size
        if share > 0.0:
            total -= share * np.log2(share)
    return total


@compiled
def _phrases(message: Array) -> int:
    """Number of phrases, each the shortest that did not come before; one cut short by the end does not count."""
    # A tree of the phrases: the node that follows a node by a direction, 0 where there is none.
    following = np.zeros((message.size + 1, 3), dtype=np.int64)
    phrases, node = 0, 0
    for direction in message:
        if following[node, direction] == 0:
            phrases += 1
            following[node, direction] = phrases
            node = 0
        else:
            node = following[node, direction]
    return phrases


@compiled
def _match_rate(message: Array) -> float:
    total, points = 0.0, message.size // 2
    for at in range(1, points + 1):
        longest = 0
        for earlier in range(at):
            length = 0
            while length < at and message[earlier + length] == message[at + length]:
                length += 1
            longest = max(longest, length)
        total += np.log2(at + 1.0) / (longest + 1.0)
    return total / points


@compiled
def breaks(logs: Array, begin: int = 0) -> tuple[Array, Array]:
    """Two statistics of structural breaks in the last 60 closes (López de Prado 2018, sections 17.3.2 and 17.4).

    - Chu, Stinchcombe and White (1996): the largest over earlier closes of |log close / earlier| over the closes' standard
      deviation times the root of the distance, over its 5 % bound.
    - SADF of Phillips, Wu and Yu (2011): the largest Dickey-Fuller statistic, with a constant and no lags, of the closes since
      one of them, at least 20. A large one suggests an explosive price.

    NaN also where the closes do not vary.
    """
    cusum, sadf = np.full((2, logs.size), np.nan)
    for at in range(max(WINDOW - 1, begin), logs.size):
        closes = logs[at - WINDOW + 1 : at + 1]
        cusum[at], sadf[at] = _departure(closes), _explosiveness(closes)
    return cusum, sadf


@compiled
def _departure(closes: Array) -> float:
    steps = closes[1:] - closes[:-1]
    deviation = np.sqrt((steps**2).sum() / steps.size)
    if not deviation > 0.0:
        return np.nan
    largest = 0.0
    for back in range(1, closes.size):
        moved = abs(closes[-1] - closes[-1 - back]) / (deviation * np.sqrt(float(back)))
        largest = max(largest, moved / np.sqrt(_BREAK_BOUND + np.log(float(back))))
    return largest


@compiled
def _explosiveness(closes: Array) -> float:
    """The largest Dickey-Fuller statistic, from sums that grow backwards; levels are counted from the last close."""
    level, change, level_2, both, change_2 = 0.0, 0.0, 0.0, 0.0, 0.0
    largest = -np.inf
    count = 0
    for at in range(closes.size - 1, 0, -1):
        x, d = closes[at - 1] - closes[-1], closes[at] - closes[at - 1]
        level, change, level_2, both, change_2 = level + x, change + d, level_2 + x * x, both + x * d, change_2 + d * d
        count += 1
        if count + 1 < FEWEST_CLOSES:
            continue
        spread = level_2 - level * level / count
        common = both - level * change / count
        rest = change_2 - change * change / count
        if not spread > _ROUNDING * level_2:
            continue
        slope = common / spread
        error = (rest - slope * common) / (count - 2)
        if error > _ROUNDING * change_2:
            largest = max(largest, slope / np.sqrt(error / spread))
    return largest if np.isfinite(largest) else np.nan
