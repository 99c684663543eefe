"""The records that the compiled pass over the tape reads, carries and writes."""

from typing import NamedTuple

import numpy as np

from tapewatch.market.arrays import Array

#: Trailing minutes that set the size of a volume bucket, and number of buckets in VPIN.
SIZING_MINUTES, VPIN_BUCKETS = 30, 50


class Span(NamedTuple):
    """The rows of one symbol among the trades and among the quotes."""

    first_trade: int
    last_trade: int
    first_quote: int
    last_quote: int


class Waiting(NamedTuple):
    """Signed trades whose midquote `REALISED_DELAY` later is not known yet; symbol `i` has rows `offsets[i]` to the next."""

    offsets: Array
    time: Array
    price: Array
    signed: Array
    mid: Array


class FlatQuotes(NamedTuple):
    """Quotes as arrays; symbol `i` has rows `offsets[i]` to `offsets[i + 1]`. An unknown size is NaN."""

    offsets: Array
    time: Array
    bid: Array
    ask: Array
    bid_size: Array
    ask_size: Array


_FLOATS = (
    "volume notional buy_volume sell_volume signed_notional high low last_price squared_returns "
    "change_product change_sum change_before_sum vpin spread_time depth_time ofi ofi_turnover mid_price "
    "effective_weighted effective_size realised_weighted realised_size open signed_root_notional bipower impact_weighted "
    "spread_squared_time depth_sum_time size_change micro_price"
)
_INTEGERS = (
    "start trade_count buy_count sell_count samples changes quote_count two_sided crossed valid_ns depth_ns "
    "last_trade last_quote sign_pairs sign_product sign_sum sign_before_sum size_quotes"
)
_CARRIED_FLOATS = "bid ask bid_size ask_size mid last change reference filled net bucket mean measured step"
_CARRIED_INTEGERS = (
    "since direction sample_end buckets minutes segment_start last_trade last_quote is_valid is_two_sided side step_end"
)


def _record(integers: str, floats: str) -> np.dtype[np.void]:
    return np.dtype([(name, np.int64) for name in integers.split()] + [(name, np.float64) for name in floats.split()])


#: One minute's sums, and what is in force at its end. Prices are NaN and times `NEVER` while unknown; `vpin` is NaN until
#: enough buckets are full. Spreads are weighted by nanoseconds or size and in basis points, changes are in price.
MINUTE = _record(_INTEGERS, _FLOATS)
#: What the pass carries from tick to tick, from `fresh_states`. `flow_*` are the minutes that set a volume bucket's size.
STATE = np.dtype(
    [
        *_record(_CARRIED_INTEGERS, _CARRIED_FLOATS).descr,
        ("flow_start", np.int64, (SIZING_MINUTES,)),
        ("flow_volume", np.float64, (SIZING_MINUTES,)),
        ("imbalances", np.float64, (VPIN_BUCKETS,)),
        ("capacities", np.float64, (VPIN_BUCKETS,)),
    ]
)
NEVER = -1


def fresh_states(count: int) -> Array:
    """States of `count` symbols before their first tick."""
    states = np.zeros(count, dtype=STATE)
    states["last_trade"] = states["last_quote"] = NEVER
    for name in ("change", "last", "reference", "mid"):
        states[name] = np.nan
    return states


def room_for_waiting(trades: int, symbols: int = 0) -> Waiting:
    """An empty queue with room for `trades` trades."""
    price, signed, mid = np.empty((3, trades))
    return Waiting(np.zeros(symbols + 1, dtype=np.int64), np.empty(trades, dtype=np.int64), price, signed, mid)
