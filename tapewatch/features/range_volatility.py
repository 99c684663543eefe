"""A day's volatility by several estimators over minute bars, for comparison."""

import math

import polars as pl

_PERCENT = 100.0

#: The columns of `day_volatility`, and their sources.
ESTIMATORS = {
    "close_to_close": "root of summed squared minute returns",
    "parkinson": "Parkinson (1980), from high and low",
    "garman_klass": "Garman and Klass (1980), from open, high, low, close",
    "rogers_satchell": "Rogers and Satchell (1991), without bias by a drift",
}


def day_volatility(bars: pl.DataFrame) -> pl.DataFrame:
    """Volatility of the day that `bars` span, in percent of the price, one row a symbol.

    Each minute's variance is estimated alone and the estimates are added up, so a move between two bars enters
    `close_to_close` only. Bars with a price of 0 or below are left out.

    Args:
        bars: symbol, time, open, high, low, close; one day's regular hours for a figure that compares across days.

    Returns:
        symbol, one column for each of `ESTIMATORS`, bars (number of bars used).
    """
    price = {name: pl.col(name).log() for name in ("open", "high", "low", "close")}
    spread = price["high"] - price["low"]
    body = price["close"] - price["open"]
    above = (price["high"] - price["close"]) * (price["high"] - price["open"])
    below = (price["low"] - price["close"]) * (price["low"] - price["open"])
    variances = {
        "close_to_close": price["close"].diff() ** 2,
        "parkinson": spread**2 / (4 * math.log(2)),
        "garman_klass": 0.5 * spread**2 - (2 * math.log(2) - 1) * body**2,
        "rogers_satchell": above + below,
    }
    return (
        bars.filter(pl.min_horizontal("open", "high", "low", "close") > 0)
        .sort(pl.col("symbol").cast(pl.String), "time")
        .group_by("symbol", maintain_order=True)
        # Rounding may make a sum slightly negative.
        .agg(*((_PERCENT * each.sum().clip(0).sqrt()).alias(name) for name, each in variances.items()), bars=pl.len())
    )
