"""The compiled pass of the engine: events of the tape and arrivals of orders, in order of time."""

from typing import Any

import numpy as np

from tapewatch.market.arrays import Array
from tapewatch.market.compiled import njit
from tapewatch.trading.engine.accounting import (
    book_flow,
    cents,
    charge_borrow,
    mark_equity,
    quanta,
    record_change,
    revalue,
    set_mark,
)
from tapewatch.trading.engine.matching import is_alive, midquote, reserve, try_bar, try_quote, try_trade
from tapewatch.trading.engine.records import (
    ACTION,
    BAR,
    CANCELLED,
    DIVIDEND,
    EXPIRED,
    HALT,
    HALTED,
    IOC,
    NO_PRICE,
    NONE,
    OPEN,
    QUOTE,
    REFUSED,
    Calendar,
    Events,
    Output,
    Terms,
)

compiled = njit(cache=True, nogil=True, error_model="numpy")


@compiled
def advance(
    events: Events,
    event: int,
    orders: Array,
    queue: Array,
    arrival: int,
    until: int,
    accounts: Array,
    slots: Array,
    sessions: Array,
    calendar: Calendar,
    terms: Terms,
    out: Output,
) -> tuple[int, int]:
    """Process events from `event` on, and the orders `queue[arrival:]` that arrive up to `until`; an event precedes an arrival.

    Stops early when the output might not hold what the next step writes: at most a row for each open order and three more.

    Returns: the next event and the next arrival.
    """
    account, last = accounts[0], events.time.size
    while event < last or (arrival < queue.size and orders[queue[arrival]].active <= until):
        if _is_full(account, out):
            return event, arrival
        arrives = arrival < queue.size and (event == last or orders[queue[arrival]].active < events.time[event])
        at = orders[queue[arrival]].active if arrives else events.time[event]
        mark_equity(account, at, terms, out)
        _turn_sessions(at, account, orders, slots, sessions, calendar)
        account.clock = at
        if arrives:
            _place(account, slots, orders, queue[arrival], at, sessions, calendar, terms, out)
            arrival += 1
        else:
            _process(account, slots, orders, events, event, sessions, calendar, terms, out)
            event += 1
    return event, arrival


@compiled
def _is_full(account: Any, out: Output) -> bool:
    room = account.open + 3
    return bool(
        account.fills + room > out.fills.size
        or account.changes + room > out.changes.size
        or account.flows + 3 > out.flows.size
        or account.marks + 2 > out.equity.size
    )


@compiled
def _turn_sessions(at: int, account: Any, orders: Array, slots: Array, sessions: Array, calendar: Calendar) -> None:
    """Let each market's session be the last that began by now, and end the orders that expired before a new one."""
    for market in range(sessions.size):
        session = sessions[market]
        while session + 1 < calendar.offsets[market + 1] and calendar.start[session + 1] <= at:
            session += 1
        if session != sessions[market]:
            sessions[market] = session
            for symbol in range(slots.size):
                if slots[symbol].market == market and slots[symbol].first != NONE:
                    _sweep(account, slots[symbol], orders, at, at)


@compiled
def _is_open(slot: Any, at: int, sessions: Array, calendar: Calendar) -> bool:
    session = sessions[slot.market]
    return bool(session >= calendar.offsets[slot.market] and calendar.start[session] <= at < calendar.end[session])


@compiled
def _process(
    account: Any,
    slots: Array,
    orders: Array,
    events: Events,
    event: int,
    sessions: Array,
    calendar: Calendar,
    terms: Terms,
    out: Output,
) -> None:
    symbol, kind, at, start = events.symbol[event], events.kind[event], events.time[event], events.start[event]
    slot = slots[symbol]
    if kind == ACTION:
        _act(account, slot, orders, symbol, at, events.a[event], events.b[event], out)
        return
    if kind == HALT:
        slot.is_halted = int(events.a[event])
        return
    if kind == BAR and start <= slot.quote_time:
        # A bar that became known after a later one says nothing about the present.
        return
    is_open = _is_open(slot, start, sessions, calendar)
    if is_open:
        charge_borrow(account, slot, symbol, at, calendar.day[sessions[slot.market]], out)
    if kind == QUOTE:
        _enter_quote(account, slot, events.a[event], events.b[event], events.c[event], events.d[event], at)
    may_fill = is_open and not slot.is_halted and slot.first != NONE
    if may_fill:
        _sweep(account, slot, orders, start, at)
        if kind == BAR:
            _match_bar(account, slot, orders, events, event, terms, out)
        else:
            available = events.b[event] * terms.depth_share
            number = slot.first
            while number != NONE:
                if kind == QUOTE:
                    try_quote(account, slot, orders, number, at, terms, out)
                else:
                    available = try_trade(
                        account, slot, orders, number, at, events.a[event], available, terms, out
                    )  # fmt: skip
                number = orders[number].next
        _unlink_ended(account, slot, orders)
    if kind == BAR:
        set_mark(account, slot, events.d[event])
        slot.quote_time = start


@compiled
def _enter_quote(account: Any, slot: Any, bid: float, ask: float, bid_size: float, ask_size: float, at: int) -> None:
    """A new quote. What the account took of a price stays taken while the price stays."""
    if bid != slot.bid:
        slot.used_bid = 0.0
    if ask != slot.ask:
        slot.used_ask = 0.0
    slot.bid, slot.ask, slot.quote_time = bid, ask, at
    slot.bid_size = np.inf if np.isnan(bid_size) else bid_size
    slot.ask_size = np.inf if np.isnan(ask_size) else ask_size
    mid = midquote(slot)
    if not np.isnan(mid):
        set_mark(account, slot, mid)


@compiled
def _match_bar(account: Any, slot: Any, orders: Array, events: Events, event: int, terms: Terms, out: Output) -> None:
    """Market orders and stops first, then limits; an order that arrived within the bar waits for the next."""
    at, start = events.time[event], events.start[event]
    open_, high, low, volume = events.a[event], events.b[event], events.c[event], events.e[event]
    available = volume * terms.depth_share
    for turn in range(2):
        number = slot.first
        while number != NONE:
            order = orders[number]
            if order.state == OPEN and order.active <= start:
                available = try_bar(
                    account, slot, orders, number, at, open_, high, low, volume, available, turn == 1, terms, out
                )  # fmt: skip
            number = order.next
    number = slot.first
    while number != NONE:
        order = orders[number]
        if order.state == OPEN and order.active <= start:
            order.is_resting = True
            order.is_triggered = min(order.is_triggered, 1)
            if order.force == IOC:
                order.state, order.ended = CANCELLED, at
        number = order.next


@compiled
def _place(
    account: Any,
    slots: Array,
    orders: Array,
    number: int,
    at: int,
    sessions: Array,
    calendar: Calendar,
    terms: Terms,
    out: Output,
) -> None:
    """Take an order that arrives: refuse it, fill it at once, or let it rest."""
    order = orders[number]
    slot = slots[order.symbol]
    if not slot.mark > 0.0:
        order.state, order.reason = REFUSED, NO_PRICE
    elif slot.is_halted:
        order.state, order.reason = REFUSED, HALTED
    elif order.expires <= at:
        order.state = EXPIRED
    else:
        reserve(account, slot, order, terms)
    if order.state in (REFUSED, EXPIRED):
        order.ended = at
        return
    order.state = OPEN
    if slot.first == NONE:
        slot.first = number
    else:
        orders[slot.last].next = number
    slot.last = number
    account.open += 1
    if terms.is_bars:
        return
    is_open = _is_open(slot, at, sessions, calendar)
    if is_open and slot.quote_time >= calendar.start[sessions[slot.market]]:
        try_quote(account, slot, orders, number, at, terms, out)
    if order.state == OPEN and order.force == IOC:
        order.state, order.ended = CANCELLED, at
    if order.state != OPEN:
        _unlink_ended(account, slot, orders)


@compiled
def _sweep(account: Any, slot: Any, orders: Array, start: int, at: int) -> None:
    number = slot.first
    while number != NONE:
        order = orders[number]
        if order.state == OPEN and not is_alive(order, start, at):
            order.state, order.ended = EXPIRED, order.expires
        number = order.next
    _unlink_ended(account, slot, orders)


@compiled
def _unlink_ended(account: Any, slot: Any, orders: Array) -> None:
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


@compiled
def cancel(accounts: Array, slots: Array, orders: Array, numbers: Array, at: int) -> None:
    """Cancel open orders."""
    account = accounts[0]
    for number in numbers:
        order = orders[number]
        if order.state == OPEN:
            order.state, order.ended = CANCELLED, at
            _unlink_ended(account, slots[order.symbol], orders)


@compiled
def _act(
    account: Any, slot: Any, orders: Array, symbol: int, at: int, ratio: float, dividend: float, out: Output
) -> None:
    """Pay a dividend, then split: position, mark and open orders in new units; the quote in force is void."""
    if dividend > 0.0:
        paid = cents(abs(slot.quantity) * dividend)
        book_flow(account, symbol, at, DIVIDEND, paid if slot.quantity > 0.0 else -paid, out)
    if not ratio > 0.0:
        return
    slot.quantity, slot.mark = quanta(slot.quantity * ratio), slot.mark / ratio
    slot.bid = slot.ask = slot.bid_size = slot.ask_size = slot.used_bid = slot.used_ask = 0.0
    slot.quote_time = 0
    revalue(account, slot)
    if slot.quantity != 0.0:
        record_change(account, slot, symbol, at, out)
    number = slot.first
    while number != NONE:
        order = orders[number]
        order.quantity, order.filled = quanta(order.quantity * ratio), quanta(order.filled * ratio)
        order.limit, order.stop = order.limit / ratio, order.stop / ratio
        number = order.next
