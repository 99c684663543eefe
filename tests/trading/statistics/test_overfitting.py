"""The probability of backtest overfitting: by a plain loop, and where the answer is known."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import rankdata

from tapewatch.trading.statistics.overfitting import probability_of_overfitting


def by_hand(returns: np.ndarray, blocks: int) -> list[float]:
    """The logits, combination by combination."""
    parts = np.array_split(returns, blocks)
    found = []
    for half in combinations(range(blocks), blocks // 2):
        inside = np.vstack([parts[k] for k in half])
        outside = np.vstack([parts[k] for k in range(blocks) if k not in half])
        ratios = [table.mean(axis=0) / table.std(axis=0, ddof=1) for table in (inside, outside)]
        rank = rankdata(ratios[1])[ratios[0].argmax()] / (returns.shape[1] + 1)
        found.append(np.log(rank / (1 - rank)))
    return found


def test_the_logits_equal_those_of_a_plain_loop() -> None:
    returns = np.random.default_rng(1).standard_t(4, (80, 7)) * 0.01
    found = probability_of_overfitting(returns, 8)
    np.testing.assert_allclose(found.logits, by_hand(returns, 8))
    assert found.probability == np.mean(np.array(by_hand(returns, 8)) <= 0)


def test_a_real_edge_is_not_overfitted_and_noise_is() -> None:
    rng = np.random.default_rng(2)
    noise = rng.normal(0, 1, (400, 20))
    real = noise.copy()
    real[:, 3] += 0.5
    assert probability_of_overfitting(real).probability == 0.0
    assert probability_of_overfitting(noise).probability > 0.3


def test_rows_that_fill_no_block_are_left_out_and_idle_strategies_count() -> None:
    returns = np.random.default_rng(3).normal(0, 1, (41, 3))
    returns[:, 2] = 0.0
    np.testing.assert_array_equal(
        probability_of_overfitting(returns, 4).logits, probability_of_overfitting(returns[1:], 4).logits
    )


@pytest.mark.parametrize(
    ("shape", "blocks", "words"),
    [((40, 1), 4, "at least two columns"), ((40, 3), 5, "even number"), ((7, 3), 4, "cannot be cut")],
)
def test_what_cannot_be_judged(shape: tuple[int, int], blocks: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        probability_of_overfitting(np.ones(shape), blocks)
