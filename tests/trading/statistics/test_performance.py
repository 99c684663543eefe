"""Performance figures by hand."""

import numpy as np
import pytest

from tapewatch.trading.statistics.performance import (
    capacity,
    drawdown,
    exposure,
    hit_rate,
    performance,
    sharpe,
    sortino,
    turnover,
)

RETURNS = [0.10, -0.20, 0.05, 0.0, 0.25]


def test_figures_by_hand() -> None:
    found = performance(RETURNS, 5)
    value = 1.1 * 0.8 * 1.05 * 1.25
    assert found.total_return == pytest.approx(value - 1)
    assert found.annual_return == pytest.approx(value - 1)
    # From 1.1 to 0.88, and 0.924 after it; 1.155 is a new high.
    assert (found.max_drawdown, found.longest_drawdown) == (pytest.approx(0.2), 3)
    assert found.calmar == pytest.approx((value - 1) / 0.2)
    assert found.sharpe == pytest.approx(0.04 / np.sqrt(0.1070 / 4) * np.sqrt(5))
    assert found.sortino == pytest.approx(0.04 / np.sqrt(0.04 / 5) * np.sqrt(5))
    assert found.hit_rate == 0.75


def test_a_loss_at_the_start_is_a_drawdown() -> None:
    assert drawdown([-0.5, 0.5]) == (0.5, 2)
    assert drawdown([0.1, 0.1]) == (0.0, 0)


def test_without_risk_there_is_no_ratio() -> None:
    for ratio in (sharpe, sortino):
        assert np.isnan(ratio([]))
        assert np.isnan(ratio([0.01, 0.01, 0.01]))
    assert np.isnan(hit_rate([0.0]))
    assert np.isnan(performance([], 252).annual_return)
    with pytest.raises(ValueError, match="return 1 is not finite"):
        sharpe([0.1, float("nan")])


def test_turnover_and_exposure_by_hand() -> None:
    weights = [[0.0, 0.0], [0.5, -0.5], [0.5, 0.0], [0.0, 0.0]]
    assert turnover(weights) == pytest.approx((1.0 + 0.5 + 0.5) / 4)
    assert exposure(weights) == (0.5, pytest.approx((1.0 + 0.5) / 4))
    assert turnover([1.0, 1.0]) == 0.5


def test_capacity_is_where_impact_eats_the_edge() -> None:
    notional = capacity(12.0, 4.0, 20.0, 1e6)
    assert 2 * 20.0 * np.sqrt(notional / 1e6) == pytest.approx(12.0 - 4.0)
    assert capacity(3.0, 4.0, 20.0, 1e6) == 0.0
    assert np.isnan(capacity(3.0, 1.0, 0.0, 1e6))
