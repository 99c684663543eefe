"""The statistics of a bin, out of the trailing series: evidence for each kind of anomaly."""

import numpy as np

from models.scan.layout import (
    AGE,
    ALONE,
    BINS_A_MINUTE,
    DRIFT,
    JUMP_SQUARES,
    LOG_PRICE,
    MASK,
    MOVE_RATIO,
    MOVES,
    PEERS,
    RESIDUAL,
    RESIDUAL_COUNT,
    SIZE_QUOTES,
    SIZE_RATIO,
    SIZE_SLOTS,
    SPREAD_RATIO,
    SPREADS,
    SQUARE_COUNT,
    SQUARES,
    SUM_SIDE,
    SUM_SIDES,
    TICK_SLOTS,
    TRADE_RATIO,
    TRADE_SLOTS,
    Rings,
    Usual,
)
from models.scan.series import compiled, level_of, ratio_of, scale_of, total_of
from tapewatch.market.arrays import Array

#: Slots a minute that are added to a usual rate of quotes: of few, twice as many say little.
_FEW_QUOTES = 0.5


@compiled
def fill_statistics(values: Array, t: int, minute: int, symbol: int, usual: Usual, rings: Rings, out: Array) -> None:
    """Fill `out` (STATISTICS) for a symbol's bin, whose inputs are `values` and which the rings hold."""
    series = rings.series[symbol]
    _activity(t, minute, symbol, usual, rings, out)
    _prices(t, minute, symbol, usual, rings, out)
    _spreads(t, minute, symbol, usual, rings, out)
    level = usual.level[symbol, :, minute]
    trading = 0.5 * _above(ratio_of(series, TRADE_SLOTS, t, 12, level[TRADE_SLOTS], 1.0))
    out[11] = ratio_of(series, SIZE_SLOTS, t, 12, level[SIZE_SLOTS], 1.0) - trading
    out[12] = ratio_of(series, SIZE_QUOTES, t, 12, level[SIZE_QUOTES], 1.0) - trading
    out[13] = ratio_of(series, TICK_SLOTS, t, 12, level[TICK_SLOTS], 1.0) - trading
    out[14] = out[15] = np.nan
    if t + 1 >= 84:
        net, sides = abs(total_of(series, SUM_SIDE, t, 84)), total_of(series, SUM_SIDES, t, 84)
        expected = 7.0 * level_of(series, TRADE_SLOTS, t, 84, level[TRADE_SLOTS])
        out[14] = net / np.sqrt(sides + 5.0)
        out[15] = net / np.sqrt((sides + 5.0) * (expected + 5.0))
    ticks = max(level_of(series, TICK_SLOTS, t, 12, level[TICK_SLOTS]), 0.5)
    out[19] = np.sqrt(values[AGE] * ticks / 60.0)
    out[20] = values[AGE] * ticks**0.3


@compiled
def _activity(t: int, minute: int, symbol: int, usual: Usual, rings: Rings, out: Array) -> None:
    """Volume beyond the peers', also beyond what the quotes that come with it explain."""
    ratios = rings.ratios[symbol]
    quoting = 0.5 * _above(_quote_ratio(t, minute, symbol, usual, rings))
    out[0] = ratios[TRADE_RATIO] - _of_peers(TRADE_RATIO, symbol, usual, rings)
    out[1] = out[0] - quoting
    out[2] = ratios[SIZE_RATIO] - _of_peers(SIZE_RATIO, symbol, usual, rings) - quoting


@compiled
def _quote_ratio(t: int, minute: int, symbol: int, usual: Usual, rings: Rings) -> float:
    """Log of the rate of slots with quotes in two minutes over the usual one; NaN without quotes."""
    series, level = rings.series[symbol], usual.level[symbol, :, minute]
    usual_rate = level_of(series, TICK_SLOTS, t, 24, level[TICK_SLOTS]) - level_of(
        series, TRADE_SLOTS, t, 24, level[TRADE_SLOTS]
    )
    usual_rate = max(usual_rate, 0.0)
    rate = 0.5 * (total_of(series, TICK_SLOTS, t, 24) - total_of(series, TRADE_SLOTS, t, 24))
    return float(np.log((max(rate, 0.0) + 0.1 * usual_rate + _FEW_QUOTES) / (1.1 * usual_rate + _FEW_QUOTES)))


@compiled
def _prices(t: int, minute: int, symbol: int, usual: Usual, rings: Rings, out: Array) -> None:
    move = usual.move[symbol, minute]
    out[3] = np.nan
    shift = _level_shift(t, symbol, usual, rings, move)
    if not np.isnan(shift):
        out[3] = min(_sudden_move(rings.series[symbol], t, move), shift)
    out[4] = _reversal(t, symbol, usual, rings, move, 30, 1.0, False)
    out[5] = _reversal(t, symbol, usual, rings, move, 24, 1.0, True)
    ratios = rings.ratios[symbol]
    out[6] = ratios[MOVE_RATIO] - _of_peers(MOVE_RATIO, symbol, usual, rings)
    out[7] = out[6] - 0.3 * _above(ratios[TRADE_RATIO])
    out[16] = _drift(t, symbol, usual, rings)
    out[17] = _reversal(t, symbol, usual, rings, move, 120, -1.0, False)
    out[18] = _reversal(t, symbol, usual, rings, move, 96, -1.0, True)


@compiled
def _spreads(t: int, minute: int, symbol: int, usual: Usual, rings: Rings, out: Array) -> None:
    """The spread beyond the peers', beyond the time of day's too, and beyond what moving prices explain."""
    series, level = rings.series[symbol], usual.level[symbol, :, minute]
    own = rings.ratios[symbol, SPREAD_RATIO]
    out[8] = own - _of_peers(SPREAD_RATIO, symbol, usual, rings)
    out[9] = np.nan
    now = total_of(series, SPREADS, t, 12)
    lagging = level_of(series, SPREADS, t, 12, level[SPREADS])
    of_day = level[SPREADS] if level[SPREADS] > 0.0 else lagging
    if t + 1 >= 12 and lagging > 0.0:
        out[9] = np.log(max(now / np.sqrt(lagging * of_day), 0.01))
    out[10] = own - 0.3 * _above(ratio_of(series, MOVES, t, 24, level[MOVES], 0.0))


@compiled
def _above(ratio: float) -> float:
    """A ratio's excess over the usual, 0 where it is missing."""
    return ratio if ratio > 0.0 else 0.0


@compiled
def _of_peers(ratio: int, symbol: int, usual: Usual, rings: Rings) -> float:
    """The median over peers of the greater of 0 and their ratio; 0 without peers."""
    found = np.empty(PEERS)
    count = 0
    for slot in range(PEERS):
        peer = usual.peer[symbol, slot]
        if peer >= 0 and not np.isnan(rings.ratios[peer, ratio]):
            found[count] = max(0.0, rings.ratios[peer, ratio])
            count += 1
    return float(np.median(found[:count])) if count else 0.0


@compiled
def _sudden_move(series: Array, t: int, move: float) -> float:
    """The greatest change over ten seconds that ended in the last five bins, over the usual one-minute change."""
    if t < BINS_A_MINUTE:
        return np.nan
    greatest = 0.0
    for back in range(5):
        change = abs(series[LOG_PRICE, (t - back) & MASK] - series[LOG_PRICE, (t - back - 2) & MASK])
        if change > greatest:  # noqa: PLR1730 - a missing change must not count
            greatest = change
    return float(greatest / np.sqrt(scale_of(series, SQUARES, SQUARE_COUNT, t, move, 12, 360, 120.0) ** 2 + 0.1))


@compiled
def _level_shift(t: int, symbol: int, usual: Usual, rings: Rings, move: float) -> float:
    """How far the last four bins lie beyond the six before them, least over the residuals that are known."""
    if t + 1 < BINS_A_MINUTE:
        return np.nan
    least = np.nan
    for step in range(usual.variants[symbol] + 1):
        if step == usual.variants[symbol] and not np.isnan(least):
            break
        own = rings.residuals[symbol, step if step < usual.variants[symbol] else ALONE]
        shift = _shift(own[RESIDUAL], t)
        scale = scale_of(own, JUMP_SQUARES, RESIDUAL_COUNT, t, 0.7 * move, 24, 360, 120.0)
        least = _lesser(least, shift / np.sqrt(scale**2 + 0.1))
    return least


@compiled
def _lesser(one: float, other: float) -> float:
    """The lesser of two numbers, where one may be missing."""
    return other if np.isnan(one) or other < one else one


@compiled
def _shift(residual: Array, t: int) -> float:
    low = low_before = np.inf
    high = high_before = -np.inf
    for back in range(11):
        value = residual[(t - back) & MASK]
        if np.isnan(value):
            return np.nan
        if back < 4:
            low, high = min(low, value), max(high, value)
        elif back > 4:
            low_before, high_before = min(low_before, value), max(high_before, value)
    return max(low - high_before, low_before - high, 0.0)


@compiled
def _reversal(
    t: int, symbol: int, usual: Usual, rings: Rings, move: float, width: int, sign: float, is_local: bool
) -> float:
    """The lesser of a fall and the recovery since (`sign` 1), or of a rise and the fall since (-1), least over residuals.

    Over the time of day's usual move, or with `is_local` over that of the half hour before.
    """
    if t + 1 < width:
        return np.nan
    least = np.nan
    for step in range(usual.variants[symbol] + 1):
        if step == usual.variants[symbol] and not np.isnan(least):
            break
        variant = step if step < usual.variants[symbol] else ALONE
        residual = rings.residuals[symbol, variant, RESIDUAL]
        highest, fall, low = -np.inf, 0.0, np.inf
        value = np.nan
        for back in range(width - 1, -1, -1):
            value = sign * residual[(t - back) & MASK]
            if value > highest:  # noqa: PLR1730 - a missing value must not count
                highest = value
            if value < low:
                low, fall = value, highest - value
        if np.isnan(value):
            continue
        usual_move = usual.residual_move[symbol, variant] * move * np.sqrt(width / 24.0)
        if is_local:
            own = rings.residuals[symbol, variant]
            scale = scale_of(own, JUMP_SQUARES, RESIDUAL_COUNT, t, 0.7 * move, width, 360, 120.0)
            usual_move = np.sqrt(scale * scale * width / 24.0 + 0.1)
        least = _lesser(least, min(fall, value - low) / max(usual_move, 1e-3))
    return least


@compiled
def _drift(t: int, symbol: int, usual: Usual, rings: Rings) -> float:
    """How one-sidedly a symbol has drifted from its peers over twenty minutes; 0 where the residuals disagree."""
    if t < 240:
        return np.nan
    least, sign = np.nan, 0.0
    for step in range(usual.variants[symbol] + 1):
        if step == usual.variants[symbol] and not np.isnan(least):
            break
        own = rings.residuals[symbol, step if step < usual.variants[symbol] else ALONE]
        if np.isnan(own[RESIDUAL, t & MASK]):
            continue
        total = 0.0
        for lag in range(0, 240, BINS_A_MINUTE):
            total += own[DRIFT, (t - lag) & MASK]
        if sign * total < 0.0:
            return 0.0
        if total != 0.0:
            sign = 1.0 if total > 0.0 else -1.0
        least = _lesser(least, abs(total) / np.sqrt(20.0))
    return least
