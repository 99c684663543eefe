"""Compiled accounting: fills, fees, marks and cash flows in whole cents, so that cash and positions always add up to equity."""

import math
from typing import Any

import numpy as np

from tapewatch.market.compiled import njit
from tapewatch.trading.engine.records import BORROW, CASH, FILLED, NONE, REFUSED, SHORT, Output, Terms

compiled = njit(cache=True, nogil=True, error_model="numpy")

_BPS = 1e-4
#: A product of three floats may be this share too low: half a cent still rounds up.
_ROUNDING = 1.0 + 2.0**-50
#: Quantities are whole multiples of 1 / this.
_QUANTA = 1e8
_DAYS_A_YEAR = 360.0


@compiled
def cents(amount: float) -> int:
    """An amount in whole cents, rounded half away from zero; exact up to about 10¹² of the currency."""
    whole = math.floor(abs(amount) * 100.0 * _ROUNDING + 0.5)
    return whole if amount >= 0.0 else -whole


@compiled
def quanta(quantity: float) -> float:
    """A quantity without the dust of float sums."""
    return float(np.rint(quantity * _QUANTA) / _QUANTA)


@compiled
def worth(slot: Any, quantity: float, price: float) -> int:
    """Cents that a quantity is worth at a price; 0 for none, whatever the price."""
    return cents(price * quantity * slot.multiplier) if quantity != 0.0 else 0


@compiled
def set_mark(account: Any, slot: Any, price: float) -> None:
    """Value the position at a new price."""
    if price != slot.mark:
        slot.mark = price
        if slot.quantity != 0.0:
            revalue(account, slot)


@compiled
def revalue(account: Any, slot: Any) -> None:
    """Bring the value of a position, and the account's sums, to its quantity and mark."""
    value = worth(slot, slot.quantity, slot.mark)
    account.value += value - slot.value
    account.gross += abs(value) - abs(slot.value)
    slot.value = value


@compiled
def book_fill(
    account: Any,
    slot: Any,
    orders: Any,
    number: int,
    at: int,
    quantity: float,
    price: float,
    is_maker: bool,
    mid: float,
    terms: Terms,
    out: Output,
) -> bool:
    """Book a trade of an order; False, with the order refused and the account unchanged, if it is beyond cash."""
    order = orders[number]
    before, after = slot.quantity, quanta(slot.quantity + order.side * quantity)
    notional = worth(slot, quantity, price)
    owed = order.owed + _fee(slot, order.side, quantity, price, is_maker, terms)
    # Without a minimum a rebate may be owed to the account.
    fee = cents(max(owed, terms.minimum_fee) if terms.minimum_fee > 0.0 else owed) - order.paid
    if not terms.allows_short and after < min(before, 0.0):
        order.state, order.reason, order.ended = REFUSED, SHORT, at
        return False
    if abs(after) > abs(before):
        value = worth(slot, after, slot.mark)
        equity = account.cash - order.side * notional - fee + account.value - slot.value + value
        gross = account.gross - abs(slot.value) + abs(value)
        if gross > terms.leverage * equity:
            order.needed, order.room = gross, int(terms.leverage * equity)
            order.state, order.reason, order.ended = REFUSED, CASH, at
            return False
    _move_position(slot, order.side, before, after, quantity, price, notional)
    account.cash -= order.side * notional + fee
    account.fees += fee
    revalue(account, slot)
    order.owed, order.paid = owed, order.paid + fee
    remaining = order.quantity - order.filled
    order.filled = quanta(order.filled + quantity)
    left = quanta(order.quantity - order.filled)
    reserved = int(order.reserved * left / remaining)
    account.reserved -= order.reserved - reserved
    order.reserved = reserved
    order.parts += 1
    if left <= 0.0:
        order.state, order.ended = FILLED, at
    row = out.fills[account.fills]
    row.order, row.part, row.time, row.quantity, row.price = number, order.parts, at, quantity, price
    row.notional, row.fee, row.is_maker, row.mid = notional, fee, is_maker, mid
    account.fills += 1
    record_change(account, slot, order.symbol, at, out)
    return True


@compiled
def _fee(slot: Any, side: int, quantity: float, price: float, is_maker: bool, terms: Terms) -> float:
    notional = price * quantity * slot.multiplier
    bps = terms.maker_bps if is_maker else terms.taker_bps
    if side < 0:
        bps += terms.sale_bps
    return float(terms.per_unit * quantity + bps * _BPS * notional)


@compiled
def _move_position(
    slot: Any, side: int, before: float, after: float, quantity: float, price: float, notional: int
) -> None:
    """Average cost: closing takes its share of the cost and realises the rest; opening adds to the cost."""
    opened = notional
    if before * side < 0.0:
        closing = min(abs(before), quantity)
        closed = notional if closing == quantity else worth(slot, closing, price)
        is_whole = closing == abs(before)
        cost = slot.cost if is_whole else int(np.rint(slot.cost * (closing / abs(before))))
        slot.realised += -side * closed - cost
        slot.cost -= cost
        opened = notional - closed
    slot.cost += side * opened
    slot.quantity = after


@compiled
def record_change(account: Any, slot: Any, symbol: int, at: int, out: Output) -> None:
    """Add a row of the position as it is now."""
    row = out.changes[account.changes]
    row.symbol, row.time, row.sequence = symbol, at, account.sequence
    row.quantity, row.mark, row.value = slot.quantity, slot.mark, slot.value
    row.cost, row.realised = slot.cost, slot.realised
    account.changes += 1
    account.sequence += 1


@compiled
def book_flow(account: Any, symbol: int, at: int, kind: int, amount: int, out: Output) -> None:
    """Receive cash, or pay it if negative."""
    if amount != 0:
        account.cash += amount
        row = out.flows[account.flows]
        row.symbol, row.time, row.kind, row.amount = symbol, at, kind, amount
        account.flows += 1


@compiled
def charge_borrow(account: Any, slot: Any, symbol: int, at: int, day: int, out: Output) -> None:
    """Charge the calendar days since the symbol's last session."""
    if slot.day != NONE and slot.day < day and slot.quantity < 0.0:
        years = (day - slot.day) / _DAYS_A_YEAR
        owed = cents(abs(slot.value) / 100.0 * slot.borrow_bps * _BPS * years)
        book_flow(account, symbol, at, BORROW, -owed, out)
    slot.day = max(slot.day, day)


@compiled
def mark_equity(account: Any, at: int, terms: Terms, out: Output) -> None:
    """Close the intervals that end before `at`, of which those without events leave no row."""
    if at > account.due:
        if account.due > 0:
            row = out.equity[account.marks]
            row.time, row.cash, row.value, row.gross, row.fees = (
                account.due, account.cash, account.value, account.gross, account.fees,
            )  # fmt: skip
            account.marks += 1
        account.due = (at + terms.mark_ns - 1) // terms.mark_ns * terms.mark_ns
