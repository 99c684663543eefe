"""What the online detectors remember of each symbol, and the thresholds as compiled code takes them."""

from typing import Any, NamedTuple

import numpy as np

#: Rules by number: the row of the table of incidents. The last three are judged by time alone.
VOLUME, MOVE, PRINT, VOLATILITY, SPREAD, FLOW, CROSSED, STUFFING, CORRELATION, STALE, OUTAGE = range(11)
RULES = 11
TRADE_CHANNEL, QUOTE_CHANNEL, BAR_CHANNEL = range(3)
CHANNELS = 3
#: What gives a symbol its price and volume, worst first: a better source that appears takes over.
FROM_QUOTES, FROM_BARS, FROM_TRADES = 1, 2, 3
#: Finished minutes that the recent average of volume looks back on.
RECENT = 30
#: Fewer minutes teach nothing of what is usual; a silence of so many ends what was known of a symbol's recent ones.
ENOUGH_MINUTES, FORGOTTEN_MINUTES = 10, 30
#: One-sided flow is looked for in the running minute and as many before as `FLOWS`.
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
#: What is known of a symbol. Prices in quote currency; moves, ranges and spreads in bps; times in ns.
SYMBOL = np.dtype(
    [(name, np.int64) for name in _INTEGERS.split()]
    + [(name, np.float64) for name in _FLOATS.split()]
    + [(name, kind, (size,)) for name, size, kind in _RINGS],
    align=True,
)
#: What outlasts the night: the usual sizes, and what gives the price.
LASTING = (
    "source", "bar_ns", "moves", "usual_move", "ranges_seen", "usual_range", "flows", "usual_flow", "usual_spread",
    "day_move",
)  # fmt: skip
#: One rule and symbol: the event that is open, or the last one. `limit` is what a value must stay above.
INCIDENT = np.dtype(
    [(name, np.int64) for name in ("is_open", "start", "last", "observations", "shown", "detected")]
    + [(name, np.float64) for name in ("value", "baseline", "peak", "limit", "shown_peak")],
    align=True,
)


class JudgedHours(NamedTuple):
    """The hours in which rules are judged, int64 ns UTC, and where the profile of the day begins."""

    start: int
    end: int
    profile_start: int
    regular_start: int
    regular_end: int


class Limits(NamedTuple):
    """Thresholds as the kernel takes them; see `rules_settings` for what they mean. 0 as multiple: the rule is off."""

    warmup_minutes: int
    close_share: float
    volume_multiple: float
    volume_score: float
    volume_trades: int
    volume_floor: float
    volume_print_share: float
    volume_by_day: bool
    move_multiple: float
    move_window: int
    move_bps: float
    move_share: float
    print_multiple: float
    print_bps: float
    print_share: float
    split_ns: int
    volatility_multiple: float
    volatility_bps: float
    volatility_share: float
    spread_multiple: float
    spread_bps: float
    spread_hold: int
    spread_quotes: int
    flow_multiple: float
    flow_score: float
    flow_share: float
    flow_orders: int
    crossed_share: float
    crossed_quotes: float
    crossed_memory: float
    stuffing_multiple: float
    stuffing_excess: float
    stuffing_quotes: int
    day_minutes: float


class Events(NamedTuple):
    """Trades, quotes and bars in order of arrival; `symbol` indexes the book. Bars carry their end's time."""

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


#: The cursor: tape's clock, next trade, quote and bar, the end of the stretch, openings noted.
CLOCK, NEXT_TRADE, NEXT_QUOTE, NEXT_BAR, UNTIL, OPENED = range(6)


class Room(NamedTuple):
    """What every rule reads and writes: events by rule and symbol, the profile of the day by symbol and minute."""

    incidents: Any
    profile: Any
    hours: JudgedHours
    limits: Limits
    cursor: Any
    opened: Any
