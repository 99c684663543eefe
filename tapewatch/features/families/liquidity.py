"""Liquidity: spreads of windows, price impact, depth, micro-price, quoting, and estimators from prices alone."""

import numpy as np
import numpy.typing as npt

from tapewatch.features.families.parts import is_complete, log_returns_bps
from tapewatch.features.sums import MinuteSums, ratio

Values = npt.NDArray[np.float64]
#: Minutes of the short window, and fewest pairs of minutes or minutes for an estimator over 30 minutes.
_SHORT, ENOUGH = 5, 10
_BASIS_POINTS, _ROOT_OF_MILLION = 1e4, 1e3
# A variance below this share of the raw second moment is rounding.
_ROUNDING = 1e-12


def liquidity(sums: MinuteSums) -> dict[str, Values]:
    """The columns `LIQUIDITY` of each minute; NaN where undefined.

    Quotes are valid, and spreads measured, as in `features/liquidity.py`. A window of 5 minutes is NaN until it is full.

    - `price_impact*`: Huang and Stoll (1996): effective less realised spread of the same trades.
    - `spread_volatility_bps`: standard deviation of the quoted spread over the time in which a quote was valid.
    - `micro_price`: (bid x ask size + ask x bid size) / (bid size + ask size); NaN without a valid quote or sizes.
    - `size_quote_share`: two-sided quotes with the bid and ask of the quote before, over all two-sided quotes.
    - `size_flicker`: summed absolute changes of size in such quotes, over the time-weighted mean depth.
    - `liquidity_score`: see `liquidity_score`.
    """
    quoted = ratio(sums["spread_time"], sums["valid_ns"])
    square = ratio(sums["spread_squared_time"], sums["valid_ns"])
    variance = square - quoted**2
    depth = ratio(sums["depth_sum_time"], sums["depth_ns"])
    middle, micro = sums["mid_price"], sums["micro_price"]
    return {
        **_spreads_of_window(sums),
        "price_impact_bps": ratio(sums["impact_weighted"], sums["realised_size"]),
        "spread_volatility_bps": np.sqrt(np.where(variance <= _ROUNDING * square, 0.0 * square, variance)),
        "depth": depth,
        "depth_ratio": ratio(depth, sums.mean_observed(depth)),
        "micro_price": micro,
        "micro_price_bps": _BASIS_POINTS * ratio(micro - middle, middle),
        "corwin_schultz_bps": corwin_schultz_bps(sums),
        "abdi_ranaldo_bps": abdi_ranaldo_bps(sums),
        "hasbrouck_lambda": hasbrouck_lambda(sums),
        "quote_to_trade_5m": _quote_to_trade(sums),
        "size_quote_share": ratio(sums["size_quotes"], sums["two_sided"]),
        "size_flicker": ratio(sums["size_change"], depth),
        "liquidity_score": liquidity_score(sums, quoted, depth),
    }


def _spreads_of_window(sums: MinuteSums) -> dict[str, Values]:
    fields = {
        "quoted_spread_5m_bps": ("spread_time", "valid_ns"),
        "effective_spread_5m_bps": ("effective_weighted", "effective_size"),
        "realised_spread_5m_bps": ("realised_weighted", "realised_size"),
        "price_impact_5m_bps": ("impact_weighted", "realised_size"),
    }
    full = is_complete(sums, _SHORT)
    spreads = {}
    for name, (weighted, weight) in fields.items():
        columns = (sums[weighted], sums[weight], np.isnan(sums[weighted]))
        total, weights, undefined = sums.trailing(*columns, with_current=True, width=_SHORT)
        spreads[name] = ratio(total, weights, where=full & (undefined == 0))
    return spreads


def _quote_to_trade(sums: MinuteSums) -> Values:
    quotes, trades = sums.trailing(sums["quote_count"], sums["trade_count"], with_current=True, width=_SHORT)
    return ratio(quotes, trades, where=is_complete(sums, _SHORT) & (sums["last_quote"] >= 0))


def corwin_schultz_bps(sums: MinuteSums) -> Values:
    """Corwin and Schultz (2012), equations 14 and 18, on pairs of adjacent traded minutes: mean spread over 30 minutes.

    A negative estimate of a pair counts as 0. NaN below 10 pairs; minutes with a price of zero or below are left out.
    """
    high, low, is_pair = _traded_pairs(sums)
    own = (high - low) ** 2
    both = np.roll(own, 1) + own
    widest = (np.maximum(high, np.roll(high, 1)) - np.minimum(low, np.roll(low, 1))) ** 2
    factor = 3.0 - 2.0 * np.sqrt(2.0)
    alpha = (np.sqrt(2.0 * both) - np.sqrt(both)) / factor - np.sqrt(widest / factor)
    spread = np.where(is_pair, np.maximum(2.0 * np.expm1(alpha) / (1.0 + np.exp(alpha)), 0.0), np.nan)
    total, count = sums.trailing(spread, is_pair, with_current=True)
    return _BASIS_POINTS * ratio(total, count, where=count >= ENOUGH)


def abdi_ranaldo_bps(sums: MinuteSums) -> Values:
    """Abdi and Ranaldo (2017), on pairs of adjacent traded minutes: 2 root of the mean product over 30 minutes.

    The product of (close - midrange) and (close - next midrange), in logs; 0 where the mean is negative. NaN below 10
    pairs; minutes with a price of zero or below are left out.
    """
    high, low, is_pair = _traded_pairs(sums)
    middle = 0.5 * (high + low)
    before = np.roll(np.log(np.where(sums["last_price"] > 0, sums["last_price"], np.nan)), 1)
    product = np.where(is_pair, (before - np.roll(middle, 1)) * (before - middle), np.nan)
    total, count = sums.trailing(product, is_pair, with_current=True)
    mean = ratio(total, count, where=count >= ENOUGH)
    return 2.0 * _BASIS_POINTS * np.sqrt(np.where(mean < 0, 0.0, mean))


def _traded_pairs(sums: MinuteSums) -> tuple[Values, Values, npt.NDArray[np.bool_]]:
    """Logs of high and low, and whether a minute and the one before it, in the same part of the day, both have them."""
    is_sound = sums["low"] > 0
    high, low = (np.log(np.where(is_sound, sums[name], np.nan)) for name in ("high", "low"))
    # A last price set in the minute needs an opening price.
    is_traded = is_sound & (sums["open"] > 0)
    is_next = (np.diff(sums.minute, prepend=0) == 1) & (np.diff(sums.segment, prepend=-1) == 0)
    if is_next.size:
        is_next[0] = False
    return high, low, is_next & is_traded & np.roll(is_traded, 1)


def hasbrouck_lambda(sums: MinuteSums) -> Values:
    """Hasbrouck (2009), on minutes: slope through the origin of returns on Σ side √notional, over 30 minutes.

    In bps for the root of a million. NaN below 10 minutes with a signed trade; minutes with a price of zero or below are
    left out.
    """
    returns = log_returns_bps(sums)
    is_known = np.isfinite(returns) & (sums["buy_count"] + sums["sell_count"] > 0) & ~(sums["low"] <= 0)
    flow = np.where(is_known, sums["signed_root_notional"] / _ROOT_OF_MILLION, np.nan)
    common, square, count = sums.trailing(flow * returns, flow**2, is_known, with_current=True)
    return ratio(common, square, where=count >= ENOUGH)


def liquidity_score(sums: MinuteSums, quoted: Values, depth: Values) -> Values:
    """Mean of three logs: usual spread over spread, depth over usual depth, and trades over usual trades.

    Of the last 5 minutes, against the mean minute of the 30 before the row's own. Trades count from 1, so that a silent
    window has a log. NaN without sizes, for a spread of 0, and in the first minutes of each part of the day.
    """
    columns = (sums["spread_time"], sums["valid_ns"], sums["depth_sum_time"], sums["depth_ns"], sums["trade_count"])
    spread_time, valid, depth_time, sized, trades = sums.trailing(*columns, with_current=True, width=_SHORT)
    full = is_complete(sums, _SHORT)
    tightness = ratio(sums.mean_observed(quoted), ratio(spread_time, valid), where=full)
    deepness = ratio(ratio(depth_time, sized), sums.mean_observed(depth), where=full)
    activity = ratio(1.0 + trades / _SHORT, 1.0 + sums.mean_minute(sums["trade_count"]))
    logs = (np.log(np.where(each > 0, each, np.nan)) for each in (tightness, deepness, activity))
    score: Values = sum(logs, start=np.zeros(len(quoted))) / 3.0
    return score
