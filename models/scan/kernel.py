"""The compiled step from one bin to the next: the same for a day at once and for a live tape."""

import numpy as np

from models.scan.layout import (
    ALONE,
    BINS_A_MINUTE,
    CAPPED_MOVES,
    CAPPED_SPREADS,
    DRIFT,
    DRIFT_SQUARES,
    JUMP_SQUARES,
    LEVELS,
    LOG_PRICE,
    MASK,
    MOVE_RATIO,
    MOVES,
    PEERS,
    PRICE,
    RESIDUAL,
    RESIDUAL_COUNT,
    ROOT_SIZE,
    SIDE,
    SIDES,
    SIZE_RATIO,
    SPREAD,
    SPREAD_RATIO,
    SPREADS,
    SQUARE_COUNT,
    SQUARES,
    SUM_SIDE,
    SUM_SIDES,
    TRADE_RATIO,
    TRADE_SLOTS,
    Rings,
    Usual,
)
from models.scan.series import add, add_square, compiled, level_of, ratio_of, scale_of, total_of
from models.scan.statistics import fill_statistics
from tapewatch.market.arrays import Array

#: One move counts as at most so many usual ones in a volatility burst.
_MOST_MOVE = 10.0
#: A usual move of five seconds is at least this part of the root mean square of a minute's, over twelve: of coarse prices most are 0.
_LEAST_MOVE = 0.5


@compiled
def scan_bins(inputs: Array, first: int, start: int, usual: Usual, rings: Rings, out: Array) -> None:
    """Fill `out` (first symbols x statistics x bins) from `inputs` (symbols x INPUTS x bins), whose first bin is the day's `first`.

    `rings` began at the day's bin `start`, from `fresh_rings`.

    A statistic is NaN before its windows are full, and where the symbol lacks its series. Price inputs are in bps of the
    log; NaN before the first.
    """
    for at in range(inputs.shape[2]):
        minute = min((first + at) // BINS_A_MINUTE, usual.move.shape[1] - 1)
        for symbol in range(inputs.shape[0]):
            _enter(inputs[symbol, :, at], first - start + at, minute, symbol, usual, rings)
        for symbol in range(out.shape[0]):
            _residuals(first - start + at, minute, symbol, usual, rings)
        for symbol in range(out.shape[0]):
            fill_statistics(inputs[symbol, :, at], first - start + at, minute, symbol, usual, rings, out[symbol, :, at])


@compiled
def _enter(values: Array, t: int, minute: int, symbol: int, usual: Usual, rings: Rings) -> None:
    """Extend the symbol's series by one bin, and set its ratios."""
    series = rings.series[symbol]
    now, before = t & MASK, (t - 1) & MASK
    price = values[PRICE]
    was = np.nan if t == 0 else series[LOG_PRICE, before]
    move = 0.0 if np.isnan(price) or np.isnan(was) else abs(price - was)
    spread = values[SPREAD]
    for level in range(LEVELS):
        value = values[level] if level < MOVES else (move if level == MOVES else spread)
        add(series, level, t, value)
    add(series, SUM_SIDE, t, values[SIDE])
    add(series, SUM_SIDES, t, values[SIDES])
    series[LOG_PRICE, now] = price
    add_square(series, SQUARES, SQUARE_COUNT, LOG_PRICE, t, usual.move[symbol, minute])
    ratios, usually = rings.ratios[symbol], usual.level[symbol, :, minute]
    least_move = _LEAST_MOVE * usual.move[symbol, minute] / BINS_A_MINUTE
    move_level = level_of(series, MOVES, t, 36, usually[MOVES]) / BINS_A_MINUTE + least_move
    spread_level = level_of(series, SPREADS, t, 24, usually[SPREADS]) / BINS_A_MINUTE
    add(series, CAPPED_MOVES, t, min(move, _MOST_MOVE * move_level))
    add(series, CAPPED_SPREADS, t, min(spread, 8.0 * spread_level))
    ratios[TRADE_RATIO] = ratio_of(series, TRADE_SLOTS, t, 24, usually[TRADE_SLOTS], 0.0)
    ratios[SIZE_RATIO] = ratio_of(series, ROOT_SIZE, t, 24, usually[ROOT_SIZE], 0.0)
    ratios[MOVE_RATIO] = ratios[SPREAD_RATIO] = np.nan
    if t >= 48 and move_level > 0.0:
        ratios[MOVE_RATIO] = np.log(total_of(series, CAPPED_MOVES, t, 36) / 36.0 / move_level + 0.1)
    if t + 1 >= 24 and spread_level > 0.0:
        ratios[SPREAD_RATIO] = np.log(max(total_of(series, CAPPED_SPREADS, t, 24) / 24.0 / spread_level, 0.01))


@compiled
def _residuals(t: int, minute: int, symbol: int, usual: Usual, rings: Rings) -> None:
    """Extend the residuals of a symbol's price from its peers'."""
    now = t & MASK
    move = usual.move[symbol, minute]
    drift_prior = max(0.6 * move, 0.1)
    for step in range(usual.variants[symbol] + 1):
        variant = step if step < usual.variants[symbol] else ALONE
        own = rings.residuals[symbol, variant]
        value = rings.series[symbol, LOG_PRICE, now]
        for slot in range(PEERS):
            weight = usual.weight[symbol, variant, slot]
            if weight != 0.0:
                value -= weight * rings.series[usual.peer[symbol, slot], LOG_PRICE, now]
        own[RESIDUAL, now] = value
        add_square(own, JUMP_SQUARES, RESIDUAL_COUNT, RESIDUAL, t, 0.7 * move)
        add_square(own, DRIFT_SQUARES, RESIDUAL_COUNT, RESIDUAL, t, drift_prior)
        own[DRIFT, now] = 0.0
        if t >= BINS_A_MINUTE:
            scale = scale_of(own, DRIFT_SQUARES, RESIDUAL_COUNT, t, drift_prior, 60, 540, 240.0)
            change = (value - own[RESIDUAL, (t - BINS_A_MINUTE) & MASK]) / scale
            own[DRIFT, now] = 0.0 if np.isnan(change) else min(max(change, -1.0), 1.0)
