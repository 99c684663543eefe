"""The probability of backtest overfitting of 100 strategies, compared with a loop over the combinations in NumPy.

Returns of 1,600 periods in 16 blocks, 12,870 combinations. The loop joins the blocks of each half and computes means and deviations anew,
as the paper describes it; it passes the first 500 combinations, whose logits are compared.

    python -m benchmarks.trading.overfitting
"""

from itertools import combinations, islice

import numpy as np
from scipy.stats import rankdata

from benchmarks.measuring import median_seconds
from tapewatch.trading.statistics.overfitting import probability_of_overfitting

PERIODS, STRATEGIES, BLOCKS = 1_600, 100, 16
LOOPED = 500
COMBINATIONS = 12_870


def by_loop(returns: np.ndarray) -> list[float]:
    """The logits of the first combinations."""
    parts = np.array_split(returns, BLOCKS)
    logits = []
    for half in islice(combinations(range(BLOCKS), BLOCKS // 2), LOOPED):
        inside = np.vstack([parts[at] for at in half])
        outside = np.vstack([parts[at] for at in range(BLOCKS) if at not in half])
        ratios = [side.mean(axis=0) / side.std(axis=0, ddof=1) for side in (inside, outside)]
        rank = rankdata(ratios[1])[ratios[0].argmax()] / (STRATEGIES + 1)
        logits.append(float(np.log(rank / (1 - rank))))
    return logits


def main() -> None:
    """Print seconds, combinations a second, and the ratio of the two sides."""
    returns = np.random.default_rng(7).standard_t(4, (PERIODS, STRATEGIES)) * 0.01
    found = probability_of_overfitting(returns, BLOCKS)
    np.testing.assert_allclose(found.logits[:LOOPED], by_loop(returns), atol=1e-9)
    sides = {"tapewatch": lambda: probability_of_overfitting(returns, BLOCKS), "NumPy loop": lambda: by_loop(returns)}
    seconds = median_seconds(sides, 3)
    rates = {"tapewatch": COMBINATIONS / seconds["tapewatch"], "NumPy loop": LOOPED / seconds["NumPy loop"]}
    for name, rate in rates.items():
        print(f"{name:12} {seconds[name]:8.3f} s  {rate:12,.0f} combinations/s")
    print(f"ratio {rates['tapewatch'] / rates['NumPy loop']:.1f}")


if __name__ == "__main__":
    main()
