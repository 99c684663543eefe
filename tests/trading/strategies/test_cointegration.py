"""The test for cointegration against that of statsmodels."""

import warnings

import numpy as np
import pytest

from tapewatch.trading.strategies.cointegration import cointegration_p_value


@pytest.mark.parametrize("regressors", [1, 2])
def test_the_p_value_is_that_of_the_library(regressors: int) -> None:
    from statsmodels.tsa.stattools import coint  # noqa: PLC0415 - takes a second to import

    rng = np.random.default_rng(regressors)
    found, expected = [], []
    # From noise around the combination, over slower and slower returns to it, to walks of their own.
    for persistence in np.linspace(0.0, 1.0, 40):
        others = np.cumsum(rng.normal(0, 5e-4, (120, regressors)), axis=0)
        apart = np.zeros(120)
        for at in range(1, 120):
            apart[at] = persistence * apart[at - 1] + rng.normal(0, 2e-4)
        target = 4.0 + others @ np.linspace(0.5, 1.5, regressors) + apart
        design = np.column_stack([others, np.ones(120)])
        residual = target - design @ np.linalg.lstsq(design, target, rcond=None)[0]
        found.append(cointegration_p_value(target, residual, regressors))
        expected.append(coint(target, others, trend="c", maxlag=1, autolag=None)[1])
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-12)
    assert min(found) < 1e-6
    assert max(found) > 0.3


def test_the_same_price_twice_is_surely_cointegrated_as_the_library_says() -> None:
    from statsmodels.tsa.stattools import coint  # noqa: PLC0415 - takes a second to import

    walk = np.cumsum(np.random.default_rng(3).normal(0, 5e-4, 120))
    other = walk * 2.0 + 1e-9 * np.sin(np.arange(120))
    residual = other - np.polyval(np.polyfit(walk, other, 1), walk)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = coint(other, walk, trend="c", maxlag=1, autolag=None)[1]
    assert cointegration_p_value(other, residual, 1) == expected == 0.0
