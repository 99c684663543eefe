"""The compiled pass over a symbol's trades and quotes that leaves one record of sums a minute."""

from typing import Any

import numpy as np

from tapewatch.features.records import SIZING_MINUTES, VPIN_BUCKETS, FlatQuotes, Span, Waiting
from tapewatch.features.ticks import (
    SAMPLING,
    UNSTATED,
    accrue,
    compiled,
    enter_mid,
    enter_quote,
    enter_trade,
    sample,
    share,
)
from tapewatch.market.arrays import (
    EXTENDED_SHIFT,
    SIDE_MASK,
    SIDE_SHIFT,
    SIGNED_SHIFT,
    Array,
    FlatTrades,
    SessionBounds,
)
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND

#: A trade is measured against the midquote this much later.
REALISED_DELAY = 30 * NS_PER_SECOND
OK, OUT_OF_DAY, OUT_OF_ORDER = 0, -1, -2
#: Modes of a symbol in `summarise_part`: skip it, pass if it has ticks, or always pass.
KEEP, IF_TICKED, PASS = 0, 1, 2


@compiled
def mark_minutes(time: Array, first: int, last: int, day_start: int, present: Array) -> int:
    """Mark the minutes of rows `first` to `last`; returns a fault if one lies outside the day."""
    row = first
    while row < last:
        minute = (time[row] - day_start) // NS_PER_MINUTE
        if minute < 0 or minute >= present.size:
            return OUT_OF_DAY
        present[minute] = True
        row += max(1, np.searchsorted(time[row:last], day_start + (minute + 1) * NS_PER_MINUTE))
    return OK


@compiled
def summarise(
    trades: FlatTrades,
    quotes: FlatQuotes,
    span: Span,
    hours: SessionBounds,
    floor: float,
    states_sides: bool,
    mids_are_prices: bool,
    minutes: Array,
    state: Any,
    waiting: Waiting,
    head: int,
    tail: int,
    is_begun: bool,
    until: int,
) -> tuple[int, int, int]:
    """Fill `minutes`, whose `start` is set, from one symbol's ticks; returns a fault or OK, and the bounds of what waits.

    At one instant, a trade comes before a quote, so that its quote in force is strictly earlier; trades, and quotes, keep
    their own order. The pass continues from `state` and rows `head` to `tail` of `waiting`, which needs room for all the
    span's trades behind them, within the first minute if `is_begun`, and ends before `until`. A minute passed in parts
    gives the same sums as at once. Prices not above `floor` are none. `states_sides`: trades state their side (crypto);
    `mids_are_prices`: midpoints of valid quotes stand for prices (forex).
    """
    # Taking an array from its tuple for every tick would cost more than the tick.
    trade_time, price, size, condition = trades.time, trades.price, trades.size, trades.condition
    traits, withdrawn, quote_time = trades.traits, trades.withdrawn, quotes.time
    bid, ask, bid_size, ask_size = quotes.bid, quotes.ask, quotes.bid_size, quotes.ask_size
    waiting_time, waiting_price, signed, mids = waiting.time, waiting.price, waiting.signed, waiting.mid
    first, trade, quote = span.first_trade, span.first_trade, span.first_quote
    for row in range(minutes.size):
        minute = minutes[row]
        end = min(minute.start + NS_PER_MINUTE, until)
        is_regular = hours.regular_start <= minute.start < hours.regular_end
        shift = 0 if is_regular else EXTENDED_SHIFT
        signed_shift = SIGNED_SHIFT if is_regular else SIGNED_SHIFT + 1
        if row > 0 or not is_begun:
            _begin(minute, state, hours.regular_start, hours.regular_end)
            while head < tail and waiting_time[head] + REALISED_DELAY < minute.start:
                head += 1
        while True:
            has_quote = quote < span.last_quote and quote_time[quote] < end
            now = quote_time[quote] if has_quote else end - 1
            while trade < span.last_trade and trade_time[trade] <= now:
                at = trade_time[trade]
                if trade > first and at < trade_time[trade - 1]:
                    return OUT_OF_ORDER, head, tail
                if withdrawn.size == 0 or not withdrawn[trade]:
                    trait = traits[condition[trade]]
                    side = int(trait >> SIDE_SHIFT & SIDE_MASK) - 1 if states_sides else UNSTATED
                    is_signed = trait >> signed_shift & 1
                    state.measured = 0.0
                    enter_trade(minute, state, at, price[trade], size[trade], trait >> shift, is_signed, side, floor)
                    if state.measured != 0.0:
                        waiting_time[tail], waiting_price[tail] = at, price[trade]
                        signed[tail], mids[tail] = state.measured, state.mid
                        tail += 1
                trade += 1
            while head < tail and waiting_time[head] + REALISED_DELAY <= now:
                if state.is_valid:
                    gain = 2.0 * share(waiting_price[head] - state.mid, mids[head])
                    minute.realised_weighted += gain * signed[head]
                    minute.impact_weighted += 2.0 * share(state.mid - mids[head], mids[head]) * signed[head]
                    minute.realised_size += abs(signed[head])
                head += 1
            if not has_quote:
                break
            if quote > span.first_quote and now < quote_time[quote - 1]:
                return OUT_OF_ORDER, head, tail
            enter_quote(minute, state, now, bid[quote], ask[quote], bid_size[quote], ask_size[quote], floor)
            if mids_are_prices:
                enter_mid(minute, state, now)
            quote += 1
        if end == minute.start + NS_PER_MINUTE:
            _finish(minute, state)
    return OK, head, tail


@compiled
def summarise_part(
    trades: FlatTrades,
    quotes: FlatQuotes,
    since: int,
    until: int,
    modes: Array,
    hours: SessionBounds,
    floor: float,
    states_sides: bool,
    mids_are_prices: bool,
    minutes: Array,
    is_begun: Array,
    states: Array,
    before: Waiting,
    then: Waiting,
    after: Waiting,
) -> int:
    """Pass over a part of one minute of every symbol, from `since` to `until`; returns a fault or OK.

    Symbol `i` fills `minutes[i]` and updates `states[i]` as `modes[i]` says; `is_begun[i]` is read and set. Trades are those of
    the minute, quotes those of the part. `before` holds the trades waiting before the part, `then` those of skipped symbols;
    `after` is filled and needs room for both and all trades.
    """
    fill = 0
    for symbol in range(modes.size):
        after.offsets[symbol] = fill
        first, end = trades.offsets[symbol], trades.offsets[symbol + 1]
        last_trade = first + np.searchsorted(trades.time[first:end], until)
        first_trade = first + np.searchsorted(trades.time[first:end], since)
        span = Span(first_trade, last_trade, quotes.offsets[symbol], quotes.offsets[symbol + 1])
        has_ticks = span.last_trade > span.first_trade or span.last_quote > span.first_quote
        is_passed = modes[symbol] == PASS or (modes[symbol] == IF_TICKED and has_ticks)
        source = then if modes[symbol] == KEEP else before
        tail = fill
        for row in range(source.offsets[symbol], source.offsets[symbol + 1]):
            _move(source, row, after, tail)
            tail += 1
        head = fill
        if is_passed:
            own, state = minutes[symbol : symbol + 1], states[symbol]
            fault, head, tail = summarise(
                trades, quotes, span, hours, floor, states_sides, mids_are_prices, own, state, after, head, tail,
                is_begun[symbol], until,
            )  # fmt: skip
            if fault != OK:
                return fault
            is_begun[symbol] = True
        for row in range(head, tail):
            _move(after, row, after, fill)
            fill += 1
    after.offsets[modes.size] = fill
    return OK


@compiled
def _move(source: Waiting, row: int, target: Waiting, at: int) -> None:
    target.time[at], target.price[at] = source.time[row], source.price[row]
    target.signed[at], target.mid[at] = source.signed[row], source.mid[row]


@compiled
def _begin(minute: Any, state: Any, regular_start: int, regular_end: int) -> None:
    start = minute.start
    minute.high = minute.low = minute.open = np.nan
    is_first = state.segment_start == 0
    state.since = start
    state.sample_end = start + SAMPLING
    # The usual volume differs before, within and after regular hours.
    for bound in (regular_start, regular_end):
        is_first |= state.segment_start < bound <= start
    if is_first:
        state.segment_start = start
        state.minutes = state.buckets = 0
        state.filled = state.net = state.bucket = state.mean = 0.0
        state.side = state.step_end = 0


@compiled
def _finish(minute: Any, state: Any) -> None:
    accrue(minute, state, minute.start + NS_PER_MINUTE)
    sample(minute, state)
    minute.last_price, minute.mid_price = state.last, state.mid
    minute.last_trade, minute.last_quote = state.last_trade, state.last_quote
    depth = state.bid_size + state.ask_size
    minute.micro_price = np.nan
    if state.is_valid and depth > 0.0:
        minute.micro_price = (state.bid * state.ask_size + state.ask * state.bid_size) / depth
    minute.vpin = np.nan
    if state.buckets >= VPIN_BUCKETS:
        # Rounding may leave one-sided flow a last bit above 1.
        minute.vpin = min(state.imbalances.sum() / state.capacities.sum(), 1.0)
    slot = state.minutes % SIZING_MINUTES
    state.flow_start[slot] = minute.start
    state.flow_volume[slot] = minute.buy_volume + minute.sell_volume
    state.minutes += 1
    elapsed = min(SIZING_MINUTES, (minute.start - state.segment_start) // NS_PER_MINUTE + 1)
    total = 0.0
    for back in range(min(state.minutes, SIZING_MINUTES)):
        if minute.start - state.flow_start[back] < SIZING_MINUTES * NS_PER_MINUTE:
            total += state.flow_volume[back]
    state.mean = total / elapsed
