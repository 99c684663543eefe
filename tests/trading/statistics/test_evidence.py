"""Probabilistic and deflated Sharpe ratios: the papers' own examples."""

import numpy as np
import pytest

from tapewatch.trading.statistics.evidence import (
    Moments,
    deflated_sharpe,
    expected_best_sharpe,
    minimum_track_record,
    probabilistic_sharpe,
)

#: Bailey and López de Prado 2012, section 4: two years of monthly returns, Sharpe ratio 1.59 a year, skewness -2.448, kurtosis 10.164.
HEDGE_FUND = Moments(0.458, 24, -2.448, 10.164)


def test_the_probabilistic_ratio_of_the_papers_hedge_fund() -> None:
    assert probabilistic_sharpe(Moments(0.458, 24)) == pytest.approx(0.982, abs=1e-3)
    assert probabilistic_sharpe(HEDGE_FUND) == pytest.approx(0.913, abs=1e-3)


def test_the_deflated_ratio_of_the_papers_example() -> None:
    """2014: 1,250 days, an annual ratio of 2.5, 100 trials with a variance of 1/2, skewness -3, kurtosis 10: 0.9004."""
    daily = Moments(2.5 / np.sqrt(250), 1250, -3, 10)
    assert expected_best_sharpe(0.5 / 250, 100) == pytest.approx(0.1132, abs=1e-4)
    assert deflated_sharpe(daily, 0.5 / 250, 100) == pytest.approx(0.9004, abs=1e-4)
    # With 46 trials it would have been 0.9505.
    assert deflated_sharpe(daily, 0.5 / 250, 46) == pytest.approx(0.9505, abs=1e-4)


def test_the_minimum_track_record_is_where_the_probability_is_reached() -> None:
    for moments in (Moments(0.1, 50), Moments(0.2, 50, -1.0, 6.0)):
        periods = minimum_track_record(moments, 0.02, confidence=0.9)
        longer = Moments(moments.sharpe, round(periods), moments.skewness, moments.kurtosis)
        assert probabilistic_sharpe(longer, 0.02) == pytest.approx(0.9, abs=2e-3)
    assert minimum_track_record(Moments(0.02, 50), 0.02) == float("inf")


def test_one_trial_is_not_deflated() -> None:
    assert deflated_sharpe(HEDGE_FUND, 0.4, 1) == probabilistic_sharpe(HEDGE_FUND)
    with pytest.raises(ValueError, match="0 trials"):
        expected_best_sharpe(1.0, 0)


def test_moments_of_returns() -> None:
    found = Moments.of([1.0, 2.0, 6.0])
    assert found.sharpe == pytest.approx(3.0 / np.sqrt(7.0))
    assert (found.skewness, found.kurtosis) == (pytest.approx(6.0 / (14 / 3) ** 1.5), pytest.approx(1.5))
    for returns in ([], [0.1, 0.2], [0.3, 0.3, 0.3]):
        with pytest.raises(ValueError, match="no Sharpe ratio"):
            Moments.of(returns)
