"""Bet sizes: the book's examples, and properties of averages."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from tapewatch.trading.sizing import (
    DynamicSize,
    average_active,
    averaged_at_start,
    bet_size,
    discretised,
    dynamic_limits,
)


def test_sizes_follow_the_books_formula() -> None:
    chance = np.array([0.5, 0.6, 0.9])
    z = (chance - 0.5) / np.sqrt(chance * (1 - chance))
    np.testing.assert_allclose(bet_size(chance, [1, -1, 1]), np.array([1, -1, 1]) * (2 * norm.cdf(z) - 1))
    assert bet_size(1.0, -1).item() == -1.0


def test_costs_raise_the_break_even_and_never_turn_a_bet_round() -> None:
    assert bet_size(0.6, 1, break_even=0.6).item() == 0.0
    assert bet_size(0.6, 1, break_even=0.7).item() == 0.0
    assert 0 < bet_size(0.6, 1, break_even=0.55).item() < bet_size(0.6, 1).item()
    with pytest.raises(ValueError, match=r"between 0 and 1, not 1\.2"):
        bet_size(1.2, 1)


def test_the_mean_of_active_bets_by_hand() -> None:
    starts, ends, sizes = np.array([0, 2, 5]), np.array([4, 6, 9]), np.array([0.4, 0.8, -1.0])
    times, means = average_active(starts, ends, sizes)
    assert times.tolist() == [0, 2, 4, 5, 6, 9]
    np.testing.assert_allclose(means, [0.4, 0.6, 0.8, -0.1, -1.0, 0.0])
    np.testing.assert_allclose(averaged_at_start(starts, ends, sizes), [0.4, 0.6, -0.1])


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 20), st.floats(-1, 1)), min_size=1, max_size=25))
def test_the_mean_at_a_bets_start_is_that_of_all_bets_then(bets: list[tuple[int, int, float]]) -> None:
    bets = sorted(bets, key=lambda bet: bet[0])
    starts = np.array([bet[0] for bet in bets])
    ends, sizes = starts + np.array([bet[1] for bet in bets]), np.array([bet[2] for bet in bets])
    expected = [sizes[(starts <= at) & (ends > at)].mean() for at in starts]
    np.testing.assert_allclose(averaged_at_start(starts, ends, sizes), expected, atol=1e-12)
    times, means = average_active(starts, ends, sizes)
    np.testing.assert_allclose(means[np.searchsorted(times, starts)], expected, atol=1e-12)


def test_sizes_are_rounded_to_steps() -> None:
    np.testing.assert_allclose(discretised([0.04, 0.06, -0.26, 0.99], 0.1), [0.0, 0.1, -0.3, 1.0])
    np.testing.assert_allclose(discretised([0.9, -0.9], 0.7), [0.7, -0.7])
    with pytest.raises(ValueError, match=r"steps of 0\.0"):
        discretised([0.5], 0.0)


def test_dynamic_sizes_by_the_books_example() -> None:
    """López de Prado 2018, snippet 10.4: forecast 115, price 100, size 0.95 at a divergence of 10, 100 units at most."""
    sigmoid = DynamicSize.calibrated(10, 0.95, 100)
    assert sigmoid.width == pytest.approx(10.8033, abs=1e-4)
    assert sigmoid.position(115, 100) == 97
    assert sigmoid.limit_price(97, 0, 115) == pytest.approx(112.3657, abs=1e-4)
    # Selling above a forecast mirrors buying below it.
    assert sigmoid.position(85, 100) == -97
    assert sigmoid.limit_price(-97, 0, 85) == pytest.approx(85 + (115 - 112.3657), abs=1e-4)


def test_an_order_at_its_limit_breaks_even_unit_by_unit() -> None:
    sigmoid = DynamicSize(4.0, 10)
    prices = [sigmoid.inverse_price(50.0, units / 10) for units in (3, 2, 1, 0, -1)]
    assert sigmoid.limit_price(-1, 4, 50.0) == pytest.approx(np.mean(prices))
    assert float(sigmoid.size(50.0 - sigmoid.inverse_price(50.0, 0.3))) == pytest.approx(0.3)
    for target, position in ((3, 3), (10, 0)):
        with pytest.raises(ValueError, match="has no limit price"):
            sigmoid.limit_price(target, position, 50.0)


def test_dynamic_limits_are_the_mean_of_the_inverse_prices() -> None:
    price, forecast = np.array([100.0, 100.0, 100.0, 100.0, np.nan]), np.array([101.0, 99.0, 101.0, 101.0, 101.0])
    limits = dynamic_limits(price, forecast, np.array([0.6, -0.6, 1.0, 0.0, 0.6]))
    # w = 1 × (1 / 0.36 - 1); the mean of m / √(1 - m²) over 0 to 0.6 is (1 - √(1 - 0.36)) / 0.6 in the limit.
    by_hand = 1.0 * np.sqrt(1 / 0.36 - 1) * (1 - 0.8) / 0.6
    assert limits[:2] == pytest.approx([101 - by_hand, 99 + by_hand], abs=2e-3)
    assert np.isnan(limits[2:]).all()
    assert 100 < limits[0] < 101
