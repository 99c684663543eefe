"""The test whether prices are cointegrated: whether what a regression of one on the others leaves returns to zero."""

import math

import numpy as np

from tapewatch.trading.strategies.closes import Floats

#: Where the regression leaves a smaller share of the variance, the prices are one price.
_COLLINEAR = 100.0 * math.sqrt(float(np.finfo(np.float64).eps))


def cointegration_p_value(target: Floats, residual: Floats, regressors: int) -> float:
    """The p-value of Engle and Granger's test (1987) with a constant and one lag, as statsmodels' `coint` gives it.

    The change of the residual is regressed on its level and its change before; the t-value of the level is held against the
    distribution of MacKinnon (1994). A residual of almost no variance gives 0.

    Args:
        target: log prices of which the others were a regression, without gaps.
        residual: what that regression, with a constant, leaves.
        regressors: number of the others.
    """
    from statsmodels.tsa.adfvalues import mackinnonp  # noqa: PLC0415 - takes a second to import

    centred = target - target.mean()
    if residual @ residual <= _COLLINEAR * (centred @ centred):
        return 0.0
    change = np.diff(residual)
    level, before, after = residual[1:-1], change[:-1], change[1:]
    of_level, of_both, of_before = level @ level, level @ before, before @ before
    determinant = of_level * of_before - of_both**2
    slope = (of_before * (level @ after) - of_both * (before @ after)) / determinant
    lag = (of_level * (before @ after) - of_both * (level @ after)) / determinant
    error = after - slope * level - lag * before
    variance = (error @ error) / (error.size - 2) * of_before / determinant
    return float(mackinnonp(slope / math.sqrt(variance), regression="c", N=regressors + 1))
