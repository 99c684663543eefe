"""The compiled pass over one symbol's ticks that leaves a record for every bin with a tick."""

from typing import Any

import numpy as np

from tapewatch.features.bins.records import BIN_NS, PRINTS
from tapewatch.features.records import FlatQuotes, Span
from tapewatch.features.ticks import OPEN_CLOSE, TIE, UNSTATED, VOLUME, compiled, share
from tapewatch.market.arrays import EXTENDED_SHIFT, SIDE_MASK, SIDE_SHIFT, Array, FlatTrades, SessionBounds
from tapewatch.market.instruments import NS_PER_SECOND

#: Ticks closer together than this count once: a burst of prints or quotes is often a single order.
SLOT_NS = NS_PER_SECOND // 10


@compiled
def pass_bins(
    trades: FlatTrades,
    is_auction: Array,
    quotes: FlatQuotes,
    span: Span,
    hours: SessionBounds,
    floor: float,
    states_sides: bool,
    state: Any,
    until: int,
    out: Array,
) -> int:
    """Write the bins that end by `until` and hold a tick, or begin the session, into `out`; returns their number.

    The ticks of `span` lie before `until`. At one instant a trade comes before a quote, so that its quote in force is
    strictly earlier. The pass continues from `state`: bins passed in parts equal those passed at once.
    """
    # Taking an array from its tuple for every tick would cost more than the tick.
    trade_time, price, size, condition = trades.time, trades.price, trades.size, trades.condition
    traits, withdrawn, quote_time, bids, asks = trades.traits, trades.withdrawn, quotes.time, quotes.bid, quotes.ask
    last, regular_start = min(until, hours.regular_end), hours.regular_start
    written = 0
    if not state.is_begun:
        state.is_begun = 1
        state.bin.start = hours.regular_start
        state.sample_at = hours.regular_start + NS_PER_SECOND
        state.is_ticked = 1
    trade, quote = span.first_trade, span.first_quote
    while trade < span.last_trade or quote < span.last_quote:
        is_trade = quote >= span.last_quote or (trade < span.last_trade and trade_time[trade] <= quote_time[quote])
        now = trade_time[trade] if is_trade else quote_time[quote]
        if now >= last:
            break
        if state.sample_at <= now:
            written = _roll(state, now, out, written)
        if is_trade:
            if withdrawn.size == 0 or not withdrawn[trade]:
                trait = traits[condition[trade]]
                may_update = trait if now >= regular_start else trait >> EXTENDED_SHIFT
                side = int(trait >> SIDE_SHIFT & SIDE_MASK) - 1 if states_sides else UNSTATED
                is_number = not (np.isnan(price[trade]) or np.isnan(size[trade]))
                if is_number and not is_auction[condition[trade]] and may_update & VOLUME:
                    _enter_trade(state, now, price[trade], size[trade], may_update, side, floor, regular_start)
            trade += 1
        else:
            _enter_quote(state, now, bids[quote], asks[quote], floor, regular_start)
            quote += 1
    return _roll(state, last, out, written)


@compiled
def _roll(state: Any, now: int, out: Array, written: int) -> int:
    """Take the spread samples due by `now` and write the bins that have ended by then."""
    while state.sample_at <= now:
        if state.ask >= state.bid:
            state.spread_sum += share(state.ask - state.bid, 0.5 * (state.bid + state.ask))
            state.samples += 1
        if state.sample_at == state.bin.start + BIN_NS:
            if state.is_ticked:
                _finish(state, out, written)
                written += 1
            _begin(state)
            # Silent bins have no record.
            skipped = max(0, (now - state.sample_at) // BIN_NS)
            state.bin.start += skipped * BIN_NS
            state.sample_at += skipped * BIN_NS
        state.sample_at += NS_PER_SECOND
    return written


@compiled
def _finish(state: Any, out: Array, at: int) -> None:
    current = state.bin
    current.last_tick = state.last_tick
    current.spread_bps = state.spread_sum / state.samples if state.samples else np.nan
    current.standing_spread_bps = np.nan
    current.price = np.nan
    if state.ask >= state.bid:
        current.standing_spread_bps = share(state.ask - state.bid, 0.5 * (state.bid + state.ask))
    if not np.isnan(state.bid + state.ask):
        current.price = 0.5 * (state.bid + state.ask)
    elif not state.is_quoted and state.prints:
        current.price = np.median(state.recent[: min(state.prints, PRINTS)])
    out[at] = current


@compiled
def _begin(state: Any) -> None:
    current = state.bin
    current.start += BIN_NS
    current.trade_slots = current.quote_slots = current.size_quote_slots = current.size_quotes = 0
    current.side_sum = current.side_count = 0
    current.root_size = current.signed_root_size = 0.0
    state.spread_sum = 0.0
    state.samples = state.is_ticked = 0


@compiled
def _enter_trade(
    state: Any, now: int, price: float, size: float, may_update: int, side: int, floor: float, regular_start: int
) -> None:
    if side == UNSTATED:
        side = _touched_side(state, price)
    if may_update & OPEN_CLOSE and price > floor:
        if not np.isnan(state.last) and price != state.last:
            state.direction = 1 if price > state.last else -1
        state.last = price
        state.recent[state.prints % PRINTS] = price
        state.prints += 1
    state.last_tick = now
    if now < regular_start:
        return
    current = state.bin
    state.is_ticked = 1
    slot = now // SLOT_NS
    if slot != state.trade_slot:
        state.trade_slot = slot
        current.trade_slots += 1
    current.side_sum += side
    current.side_count += abs(side)
    root = np.sqrt(size)
    current.root_size += root
    current.signed_root_size += side * root


@compiled
def _touched_side(state: Any, price: float) -> int:
    """1 at or above the offer, -1 at or below the bid, 0 between; by the last change of price without a quote."""
    if state.bid <= state.ask:
        slack = TIE * (abs(state.bid) + abs(state.ask))
        if state.bid == state.ask:
            return 0 if abs(price - state.bid) <= slack else (1 if price > state.bid else -1)
        if price >= state.ask - slack:
            return 1
        return -1 if price <= state.bid + slack else 0
    if np.isnan(state.last) or price == state.last:
        return int(state.direction)
    return 1 if price > state.last else -1


@compiled
def _enter_quote(state: Any, now: int, bid: float, ask: float, floor: float, regular_start: int) -> None:
    # An empty side has no price.
    bid = bid if bid > floor and bid != 0.0 else np.nan
    ask = ask if ask > floor and ask != 0.0 else np.nan
    is_same = bid == state.bid and ask == state.ask
    state.bid, state.ask = bid, ask
    state.is_quoted = 1
    state.last_tick = now
    if now < regular_start:
        return
    current = state.bin
    state.is_ticked = 1
    slot = now // SLOT_NS
    if slot != state.quote_slot:
        state.quote_slot = slot
        current.quote_slots += 1
    if is_same:
        current.size_quotes += 1
        if slot != state.size_quote_slot:
            state.size_quote_slot = slot
            current.size_quote_slots += 1
