"""Compiled rules of when, at what price and how much of an order is filled.

Against quotes, an order takes at most what the best price displays and the account has not taken yet; a resting order is met at
its limit when the other side's quote or a trade passes it, or, with a probability, when a trade is at the limit. Against bars
the pessimistic case holds: a limit must be traded through, a stop behind a gap fills at the open, stops come before limits.
"""

from typing import Any

import numpy as np

from tapewatch.market.compiled import njit
from tapewatch.trading.engine.accounting import book_fill, quanta
from tapewatch.trading.engine.records import CASH, OPEN, REFUSED, SHORT, STOP, Output, Terms

compiled = njit(cache=True, nogil=True, error_model="numpy")

_BPS = 1e-4
_SCALE = 1.0 / 9007199254740992.0
#: A stop order with a limit was triggered by the bar that is being processed.
IN_THIS_BAR = 2


@compiled
def part_of(remaining: float, available: float, lot: float) -> float:
    """How much of an order can be filled: all of it, or whole lots."""
    if remaining <= available:
        return remaining
    if available <= 0.0:
        return 0.0
    return quanta(np.floor(available / lot + 1e-9) * lot)


@compiled
def draw(order: Any) -> float:
    """The order's next uniform number from 0 to 1: SplitMix64 of its key and the count, so that no other order matters."""
    order.draws += 1
    mixed = np.uint64(order.key) + np.uint64(order.draws) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return float(mixed >> np.uint64(11)) * _SCALE


@compiled
def taken_price(order: Any, price: float, quantity: float, available: float, terms: Terms, half_spread: float) -> float:
    """What a taker pays: the price, half a spread where it is not in the price, and impact; never beyond its limit."""
    impact = 0.0
    if terms.impact_bps > 0.0 and 0.0 < available < np.inf:
        impact = terms.impact_bps * (quantity / available) ** terms.impact_exponent
    paid = float(price * (1.0 + order.side * (half_spread + impact) * _BPS))
    if np.isnan(order.limit):
        return paid
    return float(min(paid, order.limit) if order.side > 0 else max(paid, order.limit))


@compiled
def has_quote(slot: Any, side: int) -> bool:
    """Whether there is something to take for an order of this side."""
    return bool((slot.ask if side > 0 else slot.bid) > 0.0)


@compiled
def midquote(slot: Any) -> float:
    """The midpoint, NaN unless both sides are there."""
    return (slot.bid + slot.ask) / 2.0 if slot.bid > 0.0 and slot.ask > 0.0 else np.nan


@compiled
def meets_quote(slot: Any, order: Any) -> bool:
    """Whether the quote in force fills the order, if there is size; triggers a stop, and lets a limit order rest."""
    if not has_quote(slot, order.side):
        return False
    best = slot.ask if order.side > 0 else slot.bid
    if order.kind == STOP and not order.is_triggered:
        if (best - order.stop) * order.side < 0.0:
            return False
        order.is_triggered = True
    if np.isnan(order.limit) or (best - order.limit) * order.side <= 0.0:
        return True
    order.is_resting = True
    return False


@compiled
def try_quote(account: Any, slot: Any, orders: Any, number: int, at: int, terms: Terms, out: Output) -> None:
    """Fill an order against the quote in force."""
    order = orders[number]
    if not meets_quote(slot, order):
        return
    best = slot.ask if order.side > 0 else slot.bid
    is_maker = bool(order.is_resting) and not np.isnan(order.limit)
    order.is_resting = True
    size, used = (slot.ask_size, slot.used_ask) if order.side > 0 else (slot.bid_size, slot.used_bid)
    quantity = part_of(quanta(order.quantity - order.filled), size * terms.depth_share - used, slot.lot)
    if quantity <= 0.0:
        return
    price = order.limit if is_maker else taken_price(order, best, quantity, size, terms, 0.0)
    if book_fill(account, slot, orders, number, at, quantity, price, is_maker, midquote(slot), terms, out):
        if order.side > 0:
            slot.used_ask += quantity
        else:
            slot.used_bid += quantity


@compiled
def try_trade(
    account: Any,
    slot: Any,
    orders: Any,
    number: int,
    at: int,
    price: float,
    available: float,
    terms: Terms,
    out: Output,
) -> float:
    """Fill an order as a trade of others passes; returns how much of the trade is left for the account's other orders."""
    order = orders[number]
    if order.kind == STOP and not order.is_triggered:
        if (price - order.stop) * order.side >= 0.0:
            order.is_triggered = True
            try_quote(account, slot, orders, number, at, terms, out)
        return available
    if np.isnan(order.limit) or not order.is_resting:
        return available
    beyond = (price - order.limit) * order.side
    if beyond > 0.0 or (beyond == 0.0 and draw(order) >= terms.queue_probability):
        return available
    quantity = part_of(quanta(order.quantity - order.filled), available, slot.lot)
    if quantity > 0.0:
        is_booked = book_fill(
            account, slot, orders, number, at, quantity, order.limit, True, midquote(slot), terms, out
        )  # fmt: skip
        return available - quantity if is_booked else available
    return available


@compiled
def bar_price(order: Any, open_: float, high: float, low: float, is_limits: bool) -> tuple[float, bool]:
    """The price at which a bar fills an order, before spread and impact, and whether it is a maker's; NaN for none."""
    side = order.side
    is_triggering = order.kind == STOP and not order.is_triggered
    if is_triggering:
        worst = high if side > 0 else low
        if is_limits or (worst - order.stop) * side < 0.0:
            return np.nan, False
        order.is_triggered = IN_THIS_BAR
    if np.isnan(order.limit):
        gapped = max(open_, order.stop) if side > 0 else min(open_, order.stop)
        return (np.nan if is_limits else gapped if is_triggering else open_), False
    if not is_limits or order.is_triggered == IN_THIS_BAR:
        # Whether the limit was reached before or after the stop, the bar does not tell: it counts from the next bar on.
        return np.nan, False
    if (open_ - order.limit) * side < 0.0:
        return open_, bool(order.is_resting)
    best = low if side > 0 else high
    return (order.limit if (best - order.limit) * side < 0.0 else np.nan), True


@compiled
def fill_in_bar(
    account: Any,
    slot: Any,
    orders: Any,
    number: int,
    at: int,
    price: float,
    is_maker: bool,
    open_: float,
    volume: float,
    available: float,
    terms: Terms,
    out: Output,
) -> float:
    """Fill an order at the price of `bar_price`; returns the volume left for the account's other orders."""
    order = orders[number]
    quantity = part_of(quanta(order.quantity - order.filled), available, slot.lot)
    if quantity <= 0.0:
        return available
    paid = order.limit if is_maker else taken_price(order, price, quantity, volume, terms, terms.half_spread_bps)
    if book_fill(account, slot, orders, number, at, quantity, paid, is_maker, open_, terms, out):
        return available - quantity
    return available


@compiled
def is_alive(order: Any, start: int, at: int) -> bool:
    """Whether an order is open during the whole of an event."""
    return bool(order.state == OPEN and order.expires > start and order.expires >= at)


@compiled
def reserve(account: Any, slot: Any, order: Any, terms: Terms) -> None:
    """Reserve what an order may cost; refuse it if that, beside the other open orders, is more than the account can pay."""
    held = slot.quantity * order.side
    if not terms.allows_short and order.side < 0 and quanta(order.quantity + held) > 0.0:
        order.state, order.reason = REFUSED, SHORT
        return
    increase = order.quantity if held >= 0.0 else max(0.0, order.quantity + held)
    if increase <= 0.0:
        return
    price = slot.mark
    if not np.isnan(order.limit):
        price = order.limit
    elif order.kind == STOP:
        price = order.stop
    elif has_quote(slot, order.side):
        price = slot.ask if order.side > 0 else slot.bid
    cost = price * increase * slot.multiplier * 100.0
    room = terms.leverage * (account.cash + account.value) - account.gross - account.reserved
    if cost > room:
        order.needed, order.room = int(min(cost, 9e18)), int(max(room, 0.0))
        order.state, order.reason = REFUSED, CASH
        return
    order.reserved = int(cost)
    account.reserved += order.reserved
