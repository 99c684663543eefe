"""Liquidity: spreads, depth and price impact, from minute sums."""

import numpy as np
import numpy.typing as npt

from tapewatch.features.sums import MinuteSums, ratio

_BASIS_POINTS, _MILLION = 1e4, 1e6
#: Fewest pairs of price changes, and fewest minutes, from which a trailing measure is estimated.
_ENOUGH_CHANGES, _ENOUGH_FOR_MEAN, _ENOUGH_FOR_SLOPE = 20, 5, 10
# A variance below this share of the raw second moment is rounding.
_ROUNDING = 1e-12


def liquidity(sums: MinuteSums, minute_returns: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[np.float64]]:
    """Spreads, depth and price impact, by column of `MICROSTRUCTURE`; NaN where undefined.

    A quote is valid if both sides have a price and the bid is not above the ask; a locked quote has spread 0. One-sided and
    crossed quotes enter no spread, and trades during them are not compared with a midpoint. A spread relative to a midpoint of
    zero or below is undefined, and so is the spread of its minute. What overflows is NaN.

    - `quoted_spread_bps`, `depth_imbalance`: weighted by the time in which the quote in force was valid.
    - `effective_spread_bps`: 2 |price - mid| / mid, weighted by size; the midpoint is strictly earlier than the trade.
    - `realised_spread_bps`: Huang and Stoll (1996), 2 side (price - mid 30 s later) / mid, weighted by size, in the minute
      in which the 30 s end; a trade is left out if that minute has no row.

    Args:
        sums: the minutes.
        minute_returns: log returns in bps.
    """
    quoted = ratio(sums["spread_time"], sums["valid_ns"])
    return {
        "quoted_spread_bps": quoted,
        "effective_spread_bps": ratio(sums["effective_weighted"], sums["effective_size"]),
        "realised_spread_bps": ratio(sums["realised_weighted"], sums["realised_size"]),
        "spread_ratio": ratio(quoted, sums.mean_observed(quoted)),
        "depth_imbalance": ratio(sums["depth_time"], sums["depth_ns"]),
        "crossed_share": ratio(sums["crossed"], sums["two_sided"]),
        **_of_impact(sums, minute_returns),
    }


def _of_impact(sums: MinuteSums, minute_returns: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[np.float64]]:
    # Products of vast prices overflow.
    with np.errstate(over="ignore", invalid="ignore"):
        found = {
            "roll_spread_bps": roll_spread_bps(sums),
            "amihud_illiquidity": amihud_illiquidity(sums, minute_returns),
            "kyle_lambda": kyle_lambda(sums, minute_returns),
        }
    return {name: np.where(np.isinf(column), np.nan, column) for name, column in found.items()}


def roll_spread_bps(sums: MinuteSums) -> npt.NDArray[np.float64]:
    """Roll (1984): 2 sqrt(-cov) of successive price changes from trade to trade over the window, relative to the price.

    0 where the covariance is positive (Goyenko, Holden and Trzcinka 2009); NaN below 20 pairs of changes, and where the
    last price is not above zero.
    """
    pairs, products, changes, before = sums.trailing(
        sums["changes"], sums["change_product"], sums["change_sum"], sums["change_before_sum"], with_current=True
    )
    is_enough = pairs >= _ENOUGH_CHANGES
    covariance = ratio(products, pairs, where=is_enough) - ratio(changes, pairs) * ratio(before, pairs)
    return ratio(2 * _BASIS_POINTS * np.sqrt(np.maximum(-covariance, 0.0)), sums["last_price"])


def amihud_illiquidity(sums: MinuteSums, minute_returns: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Amihud (2002), equation 1, on minutes: mean |return| in bps per million traded; NaN below 5 traded minutes.

    Minutes with a price of zero or below are left out.
    """
    impact = ratio(np.abs(minute_returns) * _MILLION, sums["notional"], where=~(sums["low"] <= 0))
    total, count = sums.trailing(impact, np.isfinite(impact), with_current=True)
    return ratio(total, count, where=count >= _ENOUGH_FOR_MEAN)


def kyle_lambda(sums: MinuteSums, minute_returns: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Kyle's (1985) lambda: least-squares slope of minute returns, bps, on signed notional, millions, with intercept.

    Over the window's minutes with a classified trade and no price of zero or below; NaN below 10 of them, or where their
    signed notional is constant.
    """
    is_known = np.isfinite(minute_returns) & (sums["buy_count"] + sums["sell_count"] > 0) & ~(sums["low"] <= 0)
    flow = np.where(is_known, sums["signed_notional"] / _MILLION, np.nan)
    change = np.where(is_known, minute_returns, np.nan)
    count, x, y, xy, xx = sums.trailing(is_known, flow, change, flow * change, flow * flow, with_current=True)
    spread = ratio(xx - ratio(x * x, count), count, where=count >= _ENOUGH_FOR_SLOPE)
    common = ratio(xy - ratio(x * y, count), count)
    is_varied = spread * count > _ROUNDING * xx
    return ratio(common, spread, where=is_varied)
