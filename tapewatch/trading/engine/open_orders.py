"""Compiled handling of a symbol's open orders: a list in order of arrival, and the price or time at which one of them is due."""

from typing import Any

import numpy as np

from tapewatch.market.arrays import Array
from tapewatch.market.compiled import njit
from tapewatch.trading.engine.matching import is_alive
from tapewatch.trading.engine.records import BAR, EXPIRED, NEVER, NONE, OPEN, STOP, TRADE

compiled = njit(cache=True, nogil=True, error_model="numpy")
#: A call would count the references of its arrays.
inlined = njit(cache=True, nogil=True, error_model="numpy", forceinline=True)


@compiled
def append(account: Any, slot: Any, orders: Array, number: int) -> None:
    """Open an order: the last of its symbol's list."""
    orders[number].state = OPEN
    if slot.first == NONE:
        slot.first = number
    else:
        orders[slot.last].next = number
    slot.last = number
    account.open += 1


@inlined
def sweep(account: Any, slot: Any, orders: Array, start: int, at: int) -> None:
    """End the symbol's orders that expired."""
    number, has_ended = slot.first, False
    while number != NONE:
        order = orders[number]
        if not is_alive(order, start, at):
            order.state, order.ended = EXPIRED, order.expires
            has_ended = True
        number = order.next
    if has_ended:
        unlink_ended(account, slot, orders)


@inlined
def unlink_ended(account: Any, slot: Any, orders: Array) -> None:
    """Take the orders that are no longer open out of the symbol's list."""
    before, number = NONE, slot.first
    while number != NONE:
        order = orders[number]
        following = order.next
        if order.state == OPEN:
            before = number
        else:
            account.reserved -= order.reserved
            account.open -= 1
            order.reserved, order.next = 0, NONE
            if before == NONE:
                slot.first = following
            else:
                orders[before].next = following
            if slot.last == number:
                slot.last = before
        number = following


@inlined
def settle(slot: Any, reach: Any, orders: Array, kind: int) -> None:
    """Note the prices and the time at which one of the symbol's open orders is due next.

    They are settled if each of them rests with a limit or waits for its stop price, after its first bar; an order that joins them
    unsettles them.
    """
    reach.is_settled, reach.soonest, reach.up, reach.down = 1, NEVER, np.inf, -np.inf
    number = slot.first
    while number != NONE:
        order = orders[number]
        is_stop = order.kind == STOP and not order.is_triggered
        price = order.stop if is_stop else order.limit
        if np.isnan(price) or not (order.is_resting or (is_stop and kind != BAR)):
            reach.is_settled = 0
            return
        # A stop order that buys waits for a rise, a limit order for a fall.
        if (order.side > 0) == is_stop:
            reach.up = min(reach.up, price)
        else:
            reach.down = max(reach.down, price)
        reach.soonest = min(reach.soonest, order.expires)
        number = order.next


@inlined
def is_reached(reach: Any, kind: int, at: int, a: float, b: float, c: float) -> bool:
    """Whether an event may fill, trigger or end an open order: `a` to `c` as in `Events`. In doubt it may."""
    if not reach.is_settled or at >= reach.soonest:
        return True
    if not reach.down < a < reach.up:
        return True
    if kind != TRADE and not reach.down < b < reach.up:
        return True
    return bool(kind == BAR and not reach.down < c < reach.up)
