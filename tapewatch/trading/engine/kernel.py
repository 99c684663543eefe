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
from tapewatch.trading.engine.matching import (
    bar_price,
    fill_in_bar,
    meets_quote,
    midquote,
    reserve,
    try_quote,
    try_trade,
)
from tapewatch.trading.engine.open_orders import append, is_reached, settle, sweep, unlink_ended
from tapewatch.trading.engine.records import (
    ACTION,
    BAR,
    CANCELLED,
    DIVIDEND,
    EXPIRED,
    HALT,
    HALTED,
    IOC,
    NEVER,
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
#: For what is called with every event that meets an open order: a call would count the references of its arrays.
inlined = njit(cache=True, nogil=True, error_model="numpy", forceinline=True)


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
    reaches: Array,
    sessions: Array,
    calendar: Calendar,
    terms: Terms,
    out: Output,
) -> tuple[int, int]:
    """Process events from `event` on, and the orders `queue[arrival:]` that arrive up to `until`; an event precedes an arrival.

    Stops early when the output might not hold what the next step writes: at most a row for each open order and three more.

    Returns: the next event and the next arrival.
    """
    # Taking an array from its tuple, or handing a tuple of arrays on, for every event would cost more than the event.
    account, last = accounts[0], events.time.size
    times, starts, symbols, kinds = events.time, events.start, events.symbol, events.kind
    as_, bs, cs, ds, es = events.a, events.b, events.c, events.d, events.e
    offsets, opens, closes, days = calendar.offsets, calendar.start, calendar.end, calendar.day
    turn = _next_open(sessions, offsets, opens)
    next_arrival = orders[queue[arrival]].active if arrival < queue.size else NEVER
    while event < last or next_arrival <= until:
        if _is_full(account, out.fills.size, out.changes.size, out.flows.size, out.equity.size):
            return event, arrival
        arrives = next_arrival != NEVER and (event == last or next_arrival < times[event])
        at = next_arrival if arrives else times[event]
        if at > account.due:
            mark_equity(account, at, terms, out)
        if at >= turn:
            _turn_sessions(at, account, orders, slots, sessions, offsets, opens)
            turn = _next_open(sessions, offsets, opens)
        account.clock = at
        symbol = orders[queue[arrival]].symbol if arrives else symbols[event]
        slot, reach = slots[symbol], reaches[symbol]
        session = sessions[slot.market]
        start = at if arrives else starts[event]
        is_open = session >= offsets[slot.market] and opens[session] <= start < closes[session]
        if arrives:
            is_quoted = is_open and slot.quote_time >= opens[session]
            _place(account, slot, orders, queue[arrival], at, is_quoted, terms, out)
            reach.is_settled = 0
            arrival += 1
            next_arrival = orders[queue[arrival]].active if arrival < queue.size else NEVER
            continue
        kind = kinds[event]
        a, b, c, d, e = as_[event], bs[event], cs[event], ds[event], es[event]
        event += 1
        if kind == BAR and start <= slot.quote_time:
            # A bar that became known after a later one says nothing about the present.
            continue
        if kind == ACTION:
            _act(account, slot, orders, symbol, at, a, b, out)
            reach.is_settled = 0
        elif kind == HALT:
            slot.is_halted = int(a)
        else:
            if is_open and slot.day < days[session]:
                charge_borrow(account, slot, symbol, at, days[session], out)
            if kind == QUOTE:
                _enter_quote(account, slot, a, b, c, d, at)
            if slot.first != NONE and is_open and not slot.is_halted and is_reached(reach, kind, at, a, b, c):
                sweep(account, slot, orders, start, at)
                if kind == BAR:
                    _match_bar(account, slot, orders, at, start, a, b, c, e, terms, out)
                else:
                    _match_tick(account, slot, orders, kind, at, a, b, terms, out)
                unlink_ended(account, slot, orders)
                settle(slot, reach, orders, kind)
            if kind == BAR:
                set_mark(account, slot, d)
                slot.quote_time = start
    return event, arrival


@compiled
def _is_full(account: Any, fills: int, changes: int, flows: int, equity: int) -> bool:
    room = account.open + 3
    return bool(
        account.fills + room > fills
        or account.changes + room > changes
        or account.flows + 3 > flows
        or account.marks + 2 > equity
    )


@compiled
def _next_open(sessions: Array, offsets: Array, opens: Array) -> int:
    """When the next session of any market begins."""
    soonest = NEVER
    for market in range(sessions.size):
        if sessions[market] + 1 < offsets[market + 1]:
            soonest = min(soonest, opens[sessions[market] + 1])
    return soonest


@compiled
def _turn_sessions(
    at: int, account: Any, orders: Array, slots: Array, sessions: Array, offsets: Array, opens: Array
) -> None:
    """Let each market's session be the last that began by now, and end the orders that expired before a new one."""
    for market in range(sessions.size):
        session = sessions[market]
        while session + 1 < offsets[market + 1] and opens[session + 1] <= at:
            session += 1
        if session != sessions[market]:
            sessions[market] = session
            for symbol in range(slots.size):
                if slots[symbol].market == market and slots[symbol].first != NONE:
                    sweep(account, slots[symbol], orders, at, at)


@inlined
def _match_tick(
    account: Any, slot: Any, orders: Array, kind: int, at: int, a: float, b: float, terms: Terms, out: Output
) -> None:
    """Each open order against the new quote, or a trade of price `a` and size `b`."""
    available = b * terms.depth_share
    number = slot.first
    while number != NONE:
        if kind == QUOTE:
            if meets_quote(slot, orders[number]):
                try_quote(account, slot, orders, number, at, terms, out)
        else:
            available = try_trade(account, slot, orders, number, at, a, available, terms, out)
        number = orders[number].next


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


@inlined
def _match_bar(
    account: Any,
    slot: Any,
    orders: Array,
    at: int,
    start: int,
    open_: float,
    high: float,
    low: float,
    volume: float,
    terms: Terms,
    out: Output,
) -> None:
    """Market orders and stops first, then limits; an order that arrived within the bar waits for the next."""
    available = volume * terms.depth_share
    for turn in range(2):
        number = slot.first
        while number != NONE:
            order = orders[number]
            if order.state == OPEN and order.active <= start:
                price, is_maker = bar_price(order, open_, high, low, turn == 1)
                if not np.isnan(price):
                    available = fill_in_bar(
                        account, slot, orders, number, at, price, is_maker, open_, volume, available, terms, out
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
    account: Any, slot: Any, orders: Array, number: int, at: int, is_quoted: bool, terms: Terms, out: Output
) -> None:
    """Take an order that arrives: refuse it, fill it at once if the session has a quote, or let it rest."""
    order = orders[number]
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
    append(account, slot, orders, number)
    if terms.is_bars:
        return
    if is_quoted:
        try_quote(account, slot, orders, number, at, terms, out)
    if order.state == OPEN and order.force == IOC:
        order.state, order.ended = CANCELLED, at
    if order.state != OPEN:
        unlink_ended(account, slot, orders)


@compiled
def cancel(accounts: Array, slots: Array, orders: Array, numbers: Array, at: int) -> None:
    """Cancel open orders."""
    account = accounts[0]
    for number in numbers:
        order = orders[number]
        if order.state == OPEN:
            order.state, order.ended = CANCELLED, at
            unlink_ended(account, slots[order.symbol], orders)


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
