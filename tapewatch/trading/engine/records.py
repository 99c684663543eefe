"""The records that the compiled engine reads, carries and writes. Money is in whole cents, times in int64 ns UTC."""

from typing import Any, NamedTuple

import numpy as np

from tapewatch.market.arrays import Array

#: Kinds of events, in the order in which those of one instant are processed.
ACTION, HALT, TRADE, QUOTE, BAR = range(5)
MARKET, LIMIT, STOP = range(3)
DAY, GTC, IOC = range(3)
#: As in `ORDER_STATES`.
WAITING, OPEN, FILLED, CANCELLED, EXPIRED, REFUSED = range(6)
#: Why the kernel refuses an order.
NO_PRICE, HALTED, CASH, SHORT = 1, 2, 3, 4
#: Kinds of cash flows.
BORROW, DIVIDEND = 0, 1
NONE = -1
#: The order does not expire.
NEVER = np.iinfo(np.int64).max


class Events(NamedTuple):
    """The tape as arrays, in order of time, then kind, then symbol.

    `start` is the bar's start, else the time. `a` to `e` hold: quote bid, ask, bid size, ask size; trade price, size; bar
    open, high, low, close, volume; action split ratio, dividend (NaN for none); halt 1 at its start, 0 at its end.
    """

    time: Array
    start: Array
    symbol: Array
    kind: Array
    a: Array
    b: Array
    c: Array
    d: Array
    e: Array


class Calendar(NamedTuple):
    """Sessions by market: market `i` has rows `offsets[i]` to `offsets[i + 1]`; `day` counts days from 1970."""

    offsets: Array
    start: Array
    end: Array
    day: Array


class Terms(NamedTuple):
    """The settings as numbers, see `EngineSettings`, `Fees` and `Impact`."""

    is_bars: bool
    leverage: float
    depth_share: float
    queue_probability: float
    half_spread_bps: float
    per_unit: float
    taker_bps: float
    maker_bps: float
    sale_bps: float
    minimum_fee: float
    impact_bps: float
    impact_exponent: float
    mark_ns: int
    allows_short: bool


class Output(NamedTuple):
    """What the kernel writes: filled up to the counts in the account."""

    fills: Array
    changes: Array
    flows: Array
    equity: Array


def _record(integers: str, floats: str = "") -> np.dtype[Any]:
    return np.dtype([(name, np.int64) for name in integers.split()] + [(name, np.float64) for name in floats.split()])


#: `reserved`: what resting orders may add to the gross value; `due`: end of the current interval, 0 before the first event;
#: `sequence`: changes of positions so far; the others after it count rows of the output.
ACCOUNT = _record("cash value gross reserved fees due clock sequence open fills changes flows marks")
#: What is known and held of a symbol. `first` and `last` are the ends of its list of open orders; `day` is the last session in
#: which it had an event; `used_*`: how much of the displayed size the account has taken.
SLOT = _record(
    "market cost realised value is_halted quote_time day first last",
    "quantity mark bid ask bid_size ask_size used_bid used_ask lot multiplier borrow_bps",
)
#: `next` is the next open order of the symbol; `notional` and `owed` sum up what the parts traded and owe in fees.
ORDER = _record(
    "active expires symbol side kind force state reason is_triggered is_resting reserved next parts ended paid draws key "
    "needed room",
    "quantity filled limit stop owed",
)
#: Nothing happens to a symbol's open orders before a price at or above `up`, a price at or below `down`, or the time `soonest`, once
#: they are `is_settled`; zeros promise nothing.
REACH = _record("is_settled soonest", "up down")
FILL = _record("order part time notional fee is_maker", "quantity price mid")
CHANGE = _record("symbol time sequence cost realised value", "quantity mark")
FLOW = _record("symbol time kind amount")
EQUITY_ROW = _record("time cash value gross fees")
