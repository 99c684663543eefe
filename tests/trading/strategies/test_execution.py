"""Schedules: the paper's example, limits, caps."""

import numpy as np
import polars as pl
import pytest
from scipy.optimize import minimize

from tapewatch.trading.strategies.execution import (
    ImpactModel,
    capped_schedule,
    exit_minutes,
    limit_price,
    optimal_schedule,
)

#: Almgren and Chriss 2000, section 4.1: a million shares at $50, 30 % volatility a year, a day's volume of 5 million.
PAPER = ImpactModel(volatility=0.95, fixed_cost=0.0625, permanent=2.5e-7, temporary=2.5e-6)


def test_the_schedule_of_the_papers_example() -> None:
    found = optimal_schedule(1e6, 5.0, 5, 1e-6, PAPER)
    # The paper gives κ ≈ 0.61 a day, from the continuous limit.
    assert np.sqrt(1e-6 * 0.95**2 / 2.5e-6) == pytest.approx(0.60, abs=0.005)
    assert found.urgency == pytest.approx(0.607, abs=0.002)
    assert found.holdings[[0, -1]].tolist() == [1e6, 0.0]
    assert found.trades.sum() == pytest.approx(1e6)


@pytest.mark.parametrize("aversion", [1e-7, 1e-6, 1e-5])
def test_no_other_schedule_is_better(aversion: float) -> None:
    def cost(inner: np.ndarray) -> float:
        holdings = np.concatenate([[1.0], inner, [0.0]])
        trades = -np.diff(holdings) * 1e6
        expected = 0.5 * 2.5e-7 * 1e12 + 0.0625 * np.abs(trades).sum() + (2.5e-6 - 1.25e-7) * (trades**2).sum()
        return float((expected + aversion * 0.95**2 * ((holdings[1:] * 1e6) ** 2).sum()) / 1e6)

    best = minimize(cost, np.linspace(0.8, 0.2, 4), method="BFGS", options={"gtol": 1e-10})
    found = optimal_schedule(1e6, 5.0, 5, aversion, PAPER)
    np.testing.assert_allclose(found.holdings[1:-1] / 1e6, best.x, atol=1e-4)
    assert (found.expected_cost + aversion * found.variance) / 1e6 == pytest.approx(best.fun, rel=1e-9)


def test_without_risk_aversion_it_is_a_straight_line_and_a_long_one_does_not_overflow() -> None:
    np.testing.assert_allclose(optimal_schedule(-10, 1.0, 4, 0.0, PAPER).holdings, [-10, -7.5, -5, -2.5, 0])
    hurried = optimal_schedule(1e6, 1e4, 10_000, 1.0, PAPER)
    assert np.isfinite(hurried.holdings).all()
    assert hurried.holdings[1] < 1e3


def test_what_is_no_schedule() -> None:
    with pytest.raises(ValueError, match="too long for this impact"):
        optimal_schedule(1e6, 100.0, 1, 1e-6, PAPER)
    with pytest.raises(ValueError, match="0 intervals"):
        optimal_schedule(1e6, 1.0, 0, 1e-6, PAPER)
    with pytest.raises(ValueError, match="must be above zero"):
        ImpactModel(0.1, 0.1, 0.1, 0.0)


def test_a_capped_schedule_by_hand() -> None:
    slices, left = capped_schedule(-50, [100, 300, 1000], 0.1)
    assert (slices.tolist(), left) == ([-10, -30, -10], 0.0)
    slices, left = capped_schedule(50, [100, 200], 0.1)
    assert (slices.tolist(), left) == ([10, 20], 20.0)
    with pytest.raises(ValueError, match="participation of 2"):
        capped_schedule(1, [1.0], 2)


def test_limits_and_exits_by_hand() -> None:
    frame = pl.DataFrame({"side": [1, -1], "price": [100.0, 100.0], "spread": [20.0, 20.0], "volume": [4000.0, 0.0]})
    limits = [
        frame.select(limit_price(pl.col("side"), pl.col("price"), pl.col("spread"), aggression=a)).to_series().to_list()
        for a in (0.0, 0.5, 1.0)
    ]
    assert limits == [pytest.approx([99.9, 100.1]), [100.0, 100.0], pytest.approx([100.1, 99.9])]
    assert frame.select(exit_minutes(pl.lit(2000.0), pl.col("volume"), 0.1)).to_series().to_list() == [5.0, None]
