"""Volatility: realised and bipower variation, range estimators, and measures of the path of the last price."""

import math

import numpy as np
import numpy.typing as npt

from tapewatch.features.families import paths
from tapewatch.features.families.parts import price_before
from tapewatch.features.sums import MinuteSums, ratio

Values = npt.NDArray[np.float64]
#: Fewest minutes for an estimator over 30 minutes.
ENOUGH = 10
_BASIS_POINTS = 1e4


def volatility(sums: MinuteSums) -> dict[str, Values]:
    """The columns `VOLATILITY` of each minute; NaN where undefined.

    All but the scores and ratios are in bps of a minute: the root of the mean minute's variance. Minutes with a price of
    zero or below are left out.

    - `realised_volatility_30m_bps`: Andersen and Bollerslev (1998), from returns on a grid of 5 seconds.
    - `bipower_volatility_30m_bps`: Barndorff-Nielsen and Shephard (2004), from products of neighbouring absolute
      returns on that grid, times π / 2; a jump enters no product of two jumps.
    - `jump_share`: max(0, 1 - bipower / realised variance); 0 < realised needed.
    - range estimators: see `range_volatilities`; the rest: see `paths`.
    """
    has_grid = (sums["samples"] > 0) & np.isfinite(sums["squared_returns"]) & np.isfinite(sums["bipower"])
    squares, products, minutes = sums.trailing(
        np.where(has_grid, sums["squared_returns"], 0.0),
        np.where(has_grid, sums["bipower"], 0.0),
        has_grid,
        with_current=True,
    )
    realised = ratio(squares, minutes, where=minutes >= ENOUGH)
    bipower = 0.5 * math.pi * ratio(products, minutes, where=minutes >= ENOUGH)
    return {
        "realised_volatility_30m_bps": _BASIS_POINTS * np.sqrt(realised),
        "bipower_volatility_30m_bps": _BASIS_POINTS * np.sqrt(bipower),
        "jump_share": np.maximum(1.0 - ratio(bipower, realised), 0.0),
        **range_volatilities(sums),
        **paths.path_measures(sums.minute, sums.segment, sums["last_price"]),
    }


def range_volatilities(sums: MinuteSums) -> dict[str, Values]:
    """Volatility of a minute in bps by four estimators from opens, highs, lows and closes over 30 minutes.

    Parkinson (1980); Garman and Klass (1980), the practical estimator; Rogers and Satchell (1991); Yang and Zhang
    (2000), with a minute for a day and the step from one minute's last price to the next one's first for the
    night. A silent minute has no range. NaN below 10 minutes with a price before them.
    """
    before, last = price_before(sums), sums["last_price"]
    is_traded = np.isfinite(sums["open"])
    first = np.where(is_traded, sums["open"], before)
    high = np.where(is_traded, np.fmax(sums["high"], np.maximum(first, last)), last)
    low = np.where(is_traded, np.fmin(sums["low"], np.minimum(first, last)), last)
    is_known = (before > 0) & (low > 0)
    step, up, down, body = (
        np.log(ratio(above, below, where=is_known))
        for above, below in ((first, before), (high, first), (low, first), (last, first))
    )
    columns = {
        "range": (up - down) ** 2,
        "body": body**2,
        "drift_free": up * (up - body) + down * (down - body),
        "step": step,
        "steps": step**2,
        "bodies": body,
    }
    total = dict(zip((*columns, "count"), sums.trailing(*columns.values(), is_known, with_current=True), strict=True))
    count = total["count"]
    mean = {name: ratio(each, count, where=count >= ENOUGH) for name, each in total.items()}
    night = ratio(total["steps"] - total["step"] * mean["step"], count - 1)
    day = ratio(total["body"] - total["bodies"] * mean["bodies"], count - 1)
    weight = ratio(np.full(len(count), 0.34), 1.34 + ratio(count + 1, count - 1))
    variances = {
        "parkinson_bps": mean["range"] / (4 * math.log(2)),
        "garman_klass_bps": 0.5 * mean["range"] - (2 * math.log(2) - 1) * mean["body"],
        "rogers_satchell_bps": mean["drift_free"],
        "yang_zhang_bps": night + weight * day + (1 - weight) * mean["drift_free"],
    }
    # Rounding may make a variance slightly negative.
    return {name: _BASIS_POINTS * np.sqrt(np.maximum(each, 0.0)) for name, each in variances.items()}
