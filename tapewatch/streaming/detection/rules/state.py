"""The state of each symbol and alert, and the thresholds, as compiled code reads them."""

from typing import Any, NamedTuple

import numpy as np

#: Rules by number: the row of the table of alerts. The last three are judged by time alone.
VOLUME, MOVE, PRINT, VOLATILITY, SPREAD, FLOW, CROSSED, STUFFING, CORRELATION, STALE, OUTAGE = range(11)
RULES = 11
TRADE_CHANNEL, QUOTE_CHANNEL, BAR_CHANNEL = range(3)
CHANNELS = 3
#: Where a symbol's price and volume come from, worst first. A better source replaces a worse one.
FROM_QUOTES, FROM_BARS, FROM_TRADES = 1, 2, 3
#: Finished minutes in the recent average of volume.
RECENT = 30
#: Minutes needed before the usual size counts as known, and the length of a silence after which recent minutes are dropped.
ENOUGH_MINUTES, FORGOTTEN_MINUTES = 10, 30
#: Lengths of the ring buffers. Order flow covers the running minute and the `FLOWS` minutes before it.
SAMPLES, PRICES, RANGES, FLOWS = 16, 5, 3, 7
_INTEGERS = (
    "source bar_ns minute minutes trades price_count price_time sample_count moves ranges_seen flows "
    "order_time order_side tick_side odd_time odd_side odd_back odd_away quote_time quotes_from wide_since wide_quotes "
    "split_until quote_minute quote_minutes quotes quote_trades is_sampled"
)
_FLOATS = (
    "volume largest recent_volume log_centre log_scale day_factor high low price minute_price usual_move usual_range "
    "buys sells usual_flow tick_price odd_price odd_base mid spread usual_spread crossed_weight quote_weight "
    "usual_quotes usual_prints buys_before sells_before day_move"
)
_RINGS = (
    ("volumes", RECENT, np.float64),
    ("prices", PRICES, np.float64),
    ("sample_price", SAMPLES, np.float64),
    ("sample_time", SAMPLES, np.int64),
    ("ranges", RANGES, np.float64),
    ("buy_ring", FLOWS, np.float64),
    ("sell_ring", FLOWS, np.float64),
)
#: State of a symbol. Prices in quote currency; moves, ranges and spreads in bps; times in ns.
SYMBOL = np.dtype(
    [(name, np.int64) for name in _INTEGERS.split()]
    + [(name, np.float64) for name in _FLOATS.split()]
    + [(name, kind, (size,)) for name, size, kind in _RINGS],
    align=True,
)
#: Fields that are kept from one session to the next: the usual sizes and the price source.
LASTING = (
    "source", "bar_ns", "moves", "usual_move", "ranges_seen", "usual_range", "flows", "usual_flow", "usual_spread",
    "day_move",
)  # fmt: skip
#: The open or latest alert of one rule and symbol. It stays open while its value is at or above `limit`.
ALERT = np.dtype(
    [(name, np.int64) for name in ("is_open", "start", "known", "last", "observations", "shown", "detected")]
    + [(name, np.float64) for name in ("value", "baseline", "peak", "limit", "shown_peak")],
    align=True,
)


class JudgedHours(NamedTuple):
    """The hours in which rules are judged, and the regular hours; int64 ns UTC."""

    start: int
    end: int
    regular_start: int
    regular_end: int


class Events(NamedTuple):
    """Trades, quotes and bars in order of arrival; `symbol` indexes the book. A bar's time is its end."""

    trade_symbol: Any
    trade_time: Any
    trade_price: Any
    trade_size: Any
    trade_condition: Any
    trade_withdrawn: Any
    traits: Any
    quote_symbol: Any
    quote_time: Any
    quote_bid: Any
    quote_ask: Any
    bar_symbol: Any
    bar_time: Any
    bar_length: Any
    bar_high: Any
    bar_low: Any
    bar_close: Any
    bar_volume: Any


#: The cursor: the tape's clock, the next trade, quote and bar, and the time at which the pass stops.
CLOCK, NEXT_TRADE, NEXT_QUOTE, NEXT_BAR, UNTIL = range(5)


class AlertStates(NamedTuple):
    """Alerts (`ALERT`, rule × symbol), and the (rule, symbol) pairs opened since the last call, their count in row 0."""

    table: Any
    opened: Any


class Context(NamedTuple):
    """What every rule reads and writes. `profile` is the usual volume, symbol × minute since the regular open; `limits` come
    from `MarketRules.limits`."""

    alerts: AlertStates
    profile: Any
    hours: JudgedHours
    limits: Any
    cursor: Any
