"""The compiled step from one bin to the next: the same for a day at once and for a live tape."""

import numpy as np

from models.scan.layout import (
    AGE,
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
    MOVES,
    PEERS,
    PRICE,
    RESIDUAL,
    RESIDUAL_COUNT,
    ROOT_SIZE,
    SIDE,
    SIDES,
    SIZE_QUOTES,
    SIZE_SLOTS,
    SPREAD,
    SPREADS,
    SQUARE_COUNT,
    SQUARES,
    SUM_SIDE,
    SUM_SIDES,
    TICK_SLOTS,
    TRADE_SLOTS,
    Rings,
    Usual,
)
from tapewatch.market.arrays import Array
from tapewatch.market.compiled import njit

compiled = njit(cache=True, nogil=True, error_model="numpy")

_MINUTES_BACK = 30
_FEWEST_MINUTES = 5
_SMALLEST = 0.05
#: Changes beyond this many usual ones count as this many.
_WINSOR = 3.5
#: One move counts as at most so many usual ones in a volatility burst.
_MOST_MOVE = 6.0


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
            _statistics(inputs[symbol, :, at], first - start + at, minute, symbol, usual, rings, out[symbol, :, at])


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
        _add(series, level, t, value)
    _add(series, SUM_SIDE, t, values[SIDE])
    _add(series, SUM_SIDES, t, values[SIDES])
    series[LOG_PRICE, now] = price
    _square(series, SQUARES, SQUARE_COUNT, LOG_PRICE, t, usual.move[symbol, minute])
    move_level = _level(series, MOVES, t, 36, usual.level[symbol, MOVES, minute]) / BINS_A_MINUTE
    spread_level = _level(series, SPREADS, t, 24, usual.level[symbol, SPREADS, minute]) / BINS_A_MINUTE
    _add(series, CAPPED_MOVES, t, min(move, _MOST_MOVE * move_level))
    _add(series, CAPPED_SPREADS, t, min(spread, 8.0 * spread_level))
    ratios = rings.ratios[symbol]
    ratios[0] = _ratio(series, TRADE_SLOTS, t, 24, usual.level[symbol, TRADE_SLOTS, minute], 0.0)
    ratios[1] = _ratio(series, ROOT_SIZE, t, 24, usual.level[symbol, ROOT_SIZE, minute], 0.0)
    ratios[2] = np.nan
    if t >= 48 and move_level > 0.0:
        ratios[2] = np.log(_sum(series, CAPPED_MOVES, t, 36) / 36.0 / move_level + 0.1)


@compiled
def _add(series: Array, ring: int, t: int, value: float) -> None:
    """Extend a running sum; a missing value counts as 0."""
    before = 0.0 if t == 0 else series[ring, (t - 1) & MASK]
    series[ring, t & MASK] = before + (0.0 if np.isnan(value) else value)


@compiled
def _sum(series: Array, ring: int, t: int, width: int) -> float:
    """The sum of the last `width` bins, of all if there are fewer."""
    return float(series[ring, t & MASK] - (series[ring, (t - width) & MASK] if t >= width else 0.0))


@compiled
def _level(series: Array, ring: int, t: int, width: int, profile: float) -> float:
    """The usual sum of a minute: the median of 30 minutes that end a minute before the window, blended with the profile.

    NaN where the profile is NaN (the symbol has no such series), or is negative (unknown) and minutes are too few.
    """
    minutes = np.empty(_MINUTES_BACK)
    count = 0
    end = t - width - BINS_A_MINUTE
    while count < _MINUTES_BACK and end >= BINS_A_MINUTE - 1:
        minutes[count] = _sum(series, ring, end, BINS_A_MINUTE)
        count += 1
        end -= BINS_A_MINUTE
    if np.isnan(profile):
        return np.nan
    if count < _FEWEST_MINUTES:
        return profile if profile >= 0.0 else np.nan
    trailing = np.median(minutes[:count])
    if profile < 0.0:
        return float(trailing)
    share = count / _MINUTES_BACK
    return float(np.exp(share * np.log(trailing + _SMALLEST) + (1.0 - share) * np.log(profile + _SMALLEST)) - _SMALLEST)


@compiled
def _ratio(series: Array, ring: int, t: int, width: int, profile: float, offset: float) -> float:
    """Log of the window's rate over the usual one."""
    if t + 1 < width:
        return np.nan
    level = _level(series, ring, t, width, profile)
    rate = BINS_A_MINUTE / width * _sum(series, ring, t, width)
    usual = 1.1 * level + offset
    return float(np.log((rate + 0.1 * level + offset) / usual)) if usual > 0.0 else np.nan


@compiled
def _square(rings: Array, ring: int, counts: int, of: int, t: int, scale: float) -> None:
    """Extend the running sum of squared one-minute changes, each at most `_WINSOR` times its scale."""
    now, before = t & MASK, (t - 1) & MASK
    total, count = (0.0, 0.0) if t == 0 else (rings[ring, before], rings[counts, before])
    if t >= BINS_A_MINUTE:
        change = rings[of, now] - rings[of, (t - BINS_A_MINUTE) & MASK]
        if not np.isnan(change):
            total += min(abs(change), _WINSOR * scale) ** 2
            count += 1.0
    rings[ring, now], rings[counts, now] = total, count


@compiled
def _scale(rings: Array, ring: int, counts: int, t: int, prior: float, lag: int, back: int, weight: float) -> float:
    """Root mean square of the changes of `back` bins that end `lag` bins ago and `weight` bins of the usual one."""
    end = t - lag
    total = count = 0.0
    if end >= 0:
        total, count = _sum(rings, ring, end, back), _sum(rings, counts, end, back)
    return float(np.sqrt((max(total, 0.0) + weight * prior * prior) / (count + weight)))


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
        _square(own, JUMP_SQUARES, RESIDUAL_COUNT, RESIDUAL, t, 0.7 * move)
        _square(own, DRIFT_SQUARES, RESIDUAL_COUNT, RESIDUAL, t, drift_prior)
        own[DRIFT, now] = 0.0
        if t >= BINS_A_MINUTE:
            scale = _scale(own, DRIFT_SQUARES, RESIDUAL_COUNT, t, drift_prior, 60, 540, 240.0)
            change = (value - own[RESIDUAL, (t - BINS_A_MINUTE) & MASK]) / scale
            own[DRIFT, now] = 0.0 if np.isnan(change) else min(max(change, -1.0), 1.0)


@compiled
def _statistics(values: Array, t: int, minute: int, symbol: int, usual: Usual, rings: Rings, out: Array) -> None:
    series, ratios = rings.series[symbol], rings.ratios[symbol]
    level, move = usual.level[symbol, :, minute], usual.move[symbol, minute]
    out[0] = ratios[0] - _of_peers(0, symbol, usual, rings)
    out[1] = ratios[1] - _of_peers(1, symbol, usual, rings)
    out[2] = np.nan
    shift = _level_shift(t, symbol, usual, rings, move)
    if not np.isnan(shift):
        out[2] = min(_sudden_move(series, t, move), shift)
    out[3] = _reversal(t, symbol, usual, rings, move, 30, 1.0)
    out[4] = ratios[2] - _of_peers(2, symbol, usual, rings)
    spread_level = _level(series, SPREADS, t, 24, level[SPREADS]) / BINS_A_MINUTE
    out[5] = np.nan
    if t + 1 >= 24 and spread_level > 0.0:
        out[5] = np.log(max(_sum(series, CAPPED_SPREADS, t, 24) / 24.0 / spread_level, 0.01))
    trading = _ratio(series, TRADE_SLOTS, t, 12, level[TRADE_SLOTS], 1.0)
    trading = 0.0 if np.isnan(trading) else 0.5 * max(0.0, trading)
    out[6] = _ratio(series, SIZE_SLOTS, t, 12, level[SIZE_SLOTS], 1.0) - trading
    out[7] = _ratio(series, SIZE_QUOTES, t, 12, level[SIZE_QUOTES], 1.0) - trading
    out[8] = _ratio(series, TICK_SLOTS, t, 12, level[TICK_SLOTS], 1.0) - trading
    out[9] = out[10] = np.nan
    if t + 1 >= 84:
        net = abs(_sum(series, SUM_SIDE, t, 84))
        out[9] = net / np.sqrt(_sum(series, SUM_SIDES, t, 84) + 5.0)
        out[10] = net / (7.0 * _level(series, TRADE_SLOTS, t, 84, level[TRADE_SLOTS]) + 5.0)
    out[11] = _drift(t, symbol, usual, rings)
    out[12] = _reversal(t, symbol, usual, rings, move, 120, -1.0)
    out[13] = np.sqrt(values[AGE] * max(_level(series, TICK_SLOTS, t, 12, level[TICK_SLOTS]), 0.5) / 60.0)


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
    return float(greatest / np.sqrt(_scale(series, SQUARES, SQUARE_COUNT, t, move, 12, 360, 120.0) ** 2 + 0.1))


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
        scale = _scale(own, JUMP_SQUARES, RESIDUAL_COUNT, t, 0.7 * move, 24, 360, 120.0)
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
def _reversal(t: int, symbol: int, usual: Usual, rings: Rings, move: float, width: int, sign: float) -> float:
    """The lesser of a fall and the recovery since (`sign` 1), or of a rise and the fall since (-1), least over residuals."""
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
