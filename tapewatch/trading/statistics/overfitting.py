"""The probability of backtest overfitting by combinatorially symmetric cross-validation.

Bailey, Borwein, López de Prado and Zhu: "The Probability of Backtest Overfitting" (2017).
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Overfitting:
    """What the combinations show.

    Attributes:
        probability: share of the combinations in which the best strategy in sample is at or below the median out of sample.
        logits: ln(ω / (1 − ω)) of its relative rank out of sample, one a combination.
        in_sample: its Sharpe ratio in sample, by combination.
        out_of_sample: its Sharpe ratio out of sample.
        loss_probability: share of the combinations in which it loses out of sample.
        degradation: slope of its ratio out of sample on that in sample.
    """

    probability: float
    logits: Floats
    in_sample: Floats
    out_of_sample: Floats
    loss_probability: float
    degradation: float


def probability_of_overfitting(returns: npt.ArrayLike, blocks: int = 10) -> Overfitting:
    """Judge the choice of the best of several strategies.

    The periods are cut into `blocks` of equal length; each half of them is in sample once, the other half out of sample.
    Periods that do not fill a block are left out at the beginning. Equal Sharpe ratios share their mean rank; a strategy
    that did nothing has the ratio 0.

    Args:
        returns: periods x strategies.
        blocks: an even number; 10 give 252 combinations.

    Raises:
        ValueError: fewer than two strategies, an odd number of blocks, or fewer than two periods a block.
    """
    table = np.asarray(returns, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] < 2:
        raise ValueError(f"overfitting is a choice among strategies: give at least two columns, not {table.shape}")
    length = table.shape[0] // blocks if blocks > 0 else 0
    if blocks < 2 or blocks % 2 or length < 2:
        raise ValueError(
            f"{table.shape[0]} periods cannot be cut into {blocks} blocks: choose an even number, at most half the periods"
        )
    parts = table[table.shape[0] - blocks * length :].reshape(blocks, length, -1)
    sums, squares = parts.sum(axis=1), (parts**2).sum(axis=1)
    chosen = np.zeros((len(list(combinations(range(blocks), blocks // 2))), blocks))
    for row, half in enumerate(combinations(range(blocks), blocks // 2)):
        chosen[row, half] = 1.0
    periods = length * blocks // 2
    inside, outside = (_ratios(half @ sums, half @ squares, periods) for half in (chosen, 1.0 - chosen))
    best, rows = inside.argmax(axis=1), np.arange(len(chosen))
    of_best = outside[rows, best]
    below, equal = (outside < of_best[:, None]).sum(axis=1), (outside == of_best[:, None]).sum(axis=1)
    relative = (below + (equal + 1) / 2.0) / (table.shape[1] + 1.0)
    logits = np.log(relative / (1.0 - relative))
    x = inside[rows, best]
    spread = float(((x - x.mean()) ** 2).sum())
    slope = float(((x - x.mean()) * (of_best - of_best.mean())).sum() / spread) if spread > 0 else float("nan")
    return Overfitting(float((logits <= 0).mean()), logits, x, of_best, float((of_best < 0).mean()), slope)


def _ratios(sums: Floats, squares: Floats, periods: int) -> Floats:
    mean = sums / periods
    variance = np.maximum(squares - periods * mean**2, 0.0) / (periods - 1)
    is_moving = variance > 1e-12 * np.maximum(squares / periods, 1e-300)
    return np.divide(mean, np.sqrt(variance), out=np.zeros_like(mean), where=is_moving)
