"""The records that the pass over the tape writes for each bin, and carries from tick to tick."""

import numpy as np

from tapewatch.market.arrays import Array
from tapewatch.market.instruments import NS_PER_SECOND

BIN_NS = 5 * NS_PER_SECOND
#: Prints whose median stands for the price of a symbol without quotes.
PRINTS = 5
NEVER = -1

_INTEGERS = "start trade_slots quote_slots size_quote_slots size_quotes side_sum side_count last_tick"
_FLOATS = "root_size signed_root_size spread_bps standing_spread_bps price"
#: A bin's sums and what is in force at its end, as `market.tables.BINS_5S` describes. `last_tick` is int64 ns or `NEVER`.
BIN = np.dtype([(name, np.int64) for name in _INTEGERS.split()] + [(name, np.float64) for name in _FLOATS.split()])

_CARRIED = (
    "sample_at trade_slot quote_slot size_quote_slot last_tick direction prints samples is_begun is_ticked is_quoted"
)
_CARRIED_FLOATS = "bid ask last spread_sum"
STATE = np.dtype(
    [
        *((name, np.int64) for name in _CARRIED.split()),
        *((name, np.float64) for name in _CARRIED_FLOATS.split()),
        ("recent", np.float64, (PRINTS,)),
        ("bin", BIN),
    ]
)


def fresh_states(count: int) -> Array:
    """States of `count` symbols before their first tick."""
    states = np.zeros(count, dtype=STATE)
    for name in ("trade_slot", "quote_slot", "size_quote_slot", "last_tick"):
        states[name] = NEVER
    for name in ("bid", "ask", "last", "recent"):
        states[name] = np.nan
    return states
