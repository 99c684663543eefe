"""The compiled loop that closes bars when enough has been traded."""

from typing import Any, NamedTuple

import numpy as np

from tapewatch.market.arrays import EXTENDED_SHIFT, SIDE_MASK, SIDE_SHIFT, Array, FlatTrades
from tapewatch.market.compiled import njit
from tapewatch.market.conditions import Updates

_OPEN_CLOSE, _HIGH_LOW, _VOLUME = int(Updates.OPEN_CLOSE), int(Updates.HIGH_LOW), int(Updates.VOLUME)
_FLOATS = (
    "open high low close volume notional buy_volume sell_volume total signed buys sells last threshold "
    "mean_trades mean_unit mean_signed mean_buys mean_sells"
)
_INTEGERS = "start end transactions direction number"
#: The open bar of a symbol and what its next thresholds follow. `total`, `signed`, `buys` and `sells` are in the clock's unit.
STATE = np.dtype([(n, np.int64) for n in _INTEGERS.split()] + [(n, np.float64) for n in _FLOATS.split()])

compiled = njit(cache=True, nogil=True)


class Rules(NamedTuple):
    """A clock and its thresholds, as numbers; `fixed` (by symbol) is NaN where the threshold adapts."""

    unit: int
    form: int
    trades: float
    decay: float
    reach: float
    least_imbalance: float
    fixed: Array


def fresh_states(count: int) -> Array:
    """States before the first trade."""
    states = np.zeros(count, dtype=STATE)
    for name in ("open", "high", "low", "close", "last", "threshold", "mean_trades", "mean_unit"):
        states[name] = np.nan
    return states


@compiled
def close_bars(
    trades: FlatTrades,
    first: Array,
    end: Array,
    runs: Array,
    regular_start: int,
    regular_end: int,
    floor: float,
    states_sides: bool,
    rules: Rules,
    states: Array,
    symbol_of: Array,
    out: Array,
) -> int:
    """Write the bars that the rows `first[i]` to `end[i]` of each symbol `i` close into `out`; returns their number.

    `runs[i]` is the position in `states` of the trades' symbol `i`; `symbol_of` receives it for each bar.
    """
    count = 0
    for run in range(runs.size):
        state = states[runs[run]]
        fixed = rules.fixed[runs[run]]
        for row in range(first[run], end[run]):
            if trades.withdrawn.size and trades.withdrawn[row]:
                continue
            trait = np.int64(trades.traits[trades.condition[row]])
            at, price, size = trades.time[row], trades.price[row], trades.size[row]
            may_update = trait if regular_start <= at < regular_end else trait >> EXTENDED_SHIFT
            if not price > floor:
                continue
            side = (trait >> SIDE_SHIFT & SIDE_MASK) - 1 if states_sides else np.int64(0)
            _enter(state, at, price, size, may_update, side, rules.unit)
            if not may_update & _VOLUME or np.isnan(state.close):
                continue
            if np.isnan(state.threshold):
                state.threshold = _threshold(state, rules, fixed)
            # A block in the bar that set the means must not keep the next one open for days.
            is_long = rules.form > 0 and np.isnan(fixed) and state.transactions >= rules.reach * rules.trades
            if is_long or _measure(state, rules, fixed) >= state.threshold:
                out[count] = state
                symbol_of[count] = runs[run]
                count += 1
                _learn(state, rules)
                _reset(state)
    return count


@compiled
def _enter(state: Any, at: int, price: float, size: float, may_update: Any, side: Any, unit: int) -> None:
    if may_update & _OPEN_CLOSE:
        if not np.isnan(state.last) and price != state.last:
            state.direction = 1 if price > state.last else -1
        state.last = price
        if np.isnan(state.open):
            state.open = price
        state.close = price
    if may_update & _HIGH_LOW:
        state.high = price if np.isnan(state.high) or price > state.high else state.high
        state.low = price if np.isnan(state.low) or price < state.low else state.low
    if not may_update & _VOLUME:
        return
    if np.isnan(state.close) and not np.isnan(state.last):
        # Volume without an eligible price takes the last one, as in minute bars.
        state.open = state.close = state.last
    if state.transactions == 0:
        state.start = at
    state.end = at
    state.transactions += 1
    state.volume += size
    state.notional += size * price
    if side == 0:
        side = state.direction
    state.buy_volume += size * (side > 0)
    state.sell_volume += size * (side < 0)
    amount = 1.0 if unit == 0 else (size if unit == 1 else size * abs(price))
    state.total += amount
    state.signed += side * amount
    state.buys += amount * (side > 0)
    state.sells += amount * (side < 0)


@compiled
def _measure(state: Any, rules: Rules, fixed: float) -> float:
    if state.number == 0 and np.isnan(fixed):
        return float(state.transactions)
    if rules.form == 0:
        return float(state.total)
    return float(abs(state.signed)) if rules.form == 1 else float(max(state.buys, state.sells))


@compiled
def _threshold(state: Any, rules: Rules, fixed: float) -> float:
    if not np.isnan(fixed):
        return fixed
    if state.number == 0:
        return rules.trades
    if rules.form == 0:
        return float(rules.trades * state.mean_unit)
    trades = min(max(state.mean_trades, rules.trades / rules.reach), rules.trades * rules.reach)
    if rules.form == 1:
        return float(trades * max(abs(state.mean_signed), rules.least_imbalance * state.mean_unit))
    return float(trades * max(state.mean_buys, state.mean_sells, rules.least_imbalance * state.mean_unit))


@compiled
def _learn(state: Any, rules: Rules) -> None:
    """Move the means towards the closed bar; the first bar sets them."""
    count = float(state.transactions)
    weight = 1.0 if state.number == 0 else rules.decay
    mean_trades = 0.0 if state.number == 0 else state.mean_trades
    mean_unit = 0.0 if state.number == 0 else state.mean_unit
    state.mean_trades = mean_trades + weight * (count - mean_trades)
    state.mean_unit = mean_unit + weight * (state.total / count - mean_unit)
    state.mean_signed += weight * (state.signed / count - state.mean_signed)
    state.mean_buys += weight * (state.buys / count - state.mean_buys)
    state.mean_sells += weight * (state.sells / count - state.mean_sells)
    state.number += 1


@compiled
def _reset(state: Any) -> None:
    state.start = state.end = state.transactions = 0
    state.open = state.high = state.low = state.close = state.threshold = np.nan
    state.volume = state.notional = state.buy_volume = state.sell_volume = 0.0
    state.total = state.signed = state.buys = state.sells = 0.0
