"""The activity of each second of a day for the kernel: arrival rates of trades and quotes, spread, depth, flow."""

from typing import NamedTuple

import numpy as np

from tapewatch.emulator.synthetic.anomalies import Effects
from tapewatch.emulator.synthetic.price_path import PricePath, daily_shape, regular_seconds
from tapewatch.emulator.synthetic.randomness import Floats, State, exp, normal
from tapewatch.emulator.synthetic.universe import Instrument
from tapewatch.market.compiled import njit
from tapewatch.market.instruments import Session

#: Mean number of prints of an aggressive order (see `flow`).
PRINTS_PER_ORDER = 1.5

#: The side of an order depends on the price this many seconds ahead.
FORESEEN_S = 15

_EXTENDED_ACTIVITY = 0.035
_SPREAD_BY_VOLATILITY = 0.55


# Rows of a day's grid: prices in ticks, rates per second. `VOLATILITY` is the deviation of the price over `FORESEEN_S`, in
# ticks; `FLICKER` is 1 during quote stuffing.
MID, HALF_SPREAD, ORDERS, QUOTES, SIZE, DEPTH, FLOW, FLICKER, VOLATILITY = range(9)


class Grids(NamedTuple):
    """A day's grid: a row for each name above, a column for each second, and a last column with the final price only."""

    rows: Floats
    expected_trades: int
    expected_quotes: int


def grids(
    instrument: Instrument, session: Session, day: PricePath, effects: Effects, trades: int, noise: State
) -> Grids:
    """The day's grid for `trades` expected trades; anomalies add to them."""
    volatility = day.relative_volatility
    busy = _clustered(daily_shape(session, volatility.size, 1.3, 1.3, _EXTENDED_ACTIVITY), volatility, noise)
    rows = np.zeros((9, busy.size + 1))
    rows[MID] = prices(day.log_price + effects.shift) * (instrument.price * instrument.ticks)
    mid = rows[MID, :-1]
    spread = (
        ((1.0 - _SPREAD_BY_VOLATILITY) + _SPREAD_BY_VOLATILITY * volatility) * (instrument.half_spread_bps * 1e-4) * mid
    )
    rows[HALF_SPREAD, :-1] = spread * _wide_outside(session, busy.size) * effects.spread
    rows[ORDERS, :-1] = busy * (trades / PRINTS_PER_ORDER) * effects.trade_rate
    rows[QUOTES, :-1] = busy * (trades * instrument.quotes_per_trade) * effects.quote_rate
    rows[SIZE, :-1], rows[DEPTH, :-1] = effects.size, effects.depth
    rows[FLOW, :-1], rows[FLICKER, :-1] = effects.flow, effects.flicker
    rows[VOLATILITY, :-1] = instrument.volatility * np.sqrt(FORESEEN_S / busy.size) * volatility * mid
    expected = rows[ORDERS].sum() * PRINTS_PER_ORDER, rows[QUOTES].sum()
    return Grids(rows, int(expected[0]), int(expected[1]))


@njit(cache=True)
def prices(logs: Floats) -> Floats:
    out = np.empty(logs.size)
    for i in range(logs.size):
        out[i] = exp(logs[i])
    return out


@njit(cache=True)
def _clustered(shape: Floats, relative_volatility: Floats, noise: State) -> Floats:
    """Arrivals by the second, clustered by volatility and by themselves; the sum is 1."""
    out = np.empty(shape.size)
    total, crowd = 0.0, 1.0
    log = 0.0
    for i in range(shape.size):
        if i % 4 == 0:
            log = 0.97 * log + 0.12 * normal(noise)
            crowd = exp(log)
        out[i] = shape[i] * (0.25 + 0.75 * relative_volatility[i]) * crowd
        total += out[i]
    return out / total


def _wide_outside(session: Session, seconds: int) -> Floats:
    if session.market.is_continuous:
        return np.ones(seconds)
    wide = np.full(seconds, 4.0)
    opens, closes = regular_seconds(session)
    wide[opens:closes] = 1.0
    # Spreads are wider in the first quarter of an hour.
    settling = min(900, closes - opens)
    wide[opens : opens + settling] = 1.0 + 1.2 * (1.0 - np.arange(settling) / settling)
    return wide
