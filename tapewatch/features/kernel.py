"""The compiled pass over a symbol's trades and quotes that leaves one record of sums a minute.

All compiled code of the pass is in this file, since Numba's cache does not see a change in another.
"""

from typing import Any

import numpy as np

from tapewatch.features.records import SIZING_MINUTES, VPIN_BUCKETS, FlatQuotes, Span, Waiting
from tapewatch.market.arrays import EXTENDED_SHIFT, SIDE_SHIFT, Array, FlatTrades, SessionBounds
from tapewatch.market.compiled import njit
from tapewatch.market.conditions import Updates
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND

#: A trade is measured against the midquote this much later.
REALISED_DELAY = 30 * NS_PER_SECOND
SAMPLING = 5 * NS_PER_SECOND
#: Prices closer than this share of their sum are the same: 10.015 and (10.01 + 10.02) / 2 differ in the last bit.
TIE = 1e-9

OK, OUT_OF_DAY, OUT_OF_ORDER = 0, -1, -2
_OPEN_CLOSE, _HIGH_LOW, _VOLUME = int(Updates.OPEN_CLOSE), int(Updates.HIGH_LOW), int(Updates.VOLUME)
_BASIS_POINTS = 1e4

_compiled = njit(cache=True, nogil=True, error_model="numpy")

#: In place of a side, where the market leaves it to be worked out.
UNSTATED = 2
#: What `summarise_part` does with a symbol: nothing, the pass if it has ticks, or the pass.
KEEP, IF_TICKED, PASS = 0, 1, 2


@_compiled
def mark_minutes(time: Array, first: int, last: int, day_start: int, present: Array) -> int:
    """Mark the minutes in which rows `first` to `last` fall; returns a fault where one lies outside the day."""
    row = first
    while row < last:
        minute = (time[row] - day_start) // NS_PER_MINUTE
        if minute < 0 or minute >= present.size:
            return OUT_OF_DAY
        present[minute] = True
        row += max(1, np.searchsorted(time[row:last], day_start + (minute + 1) * NS_PER_MINUTE))
    return OK


@_compiled
def quote_side(price: float, bid: float, ask: float) -> int:
    """The quote rule: above the midpoint a buyer, below it a seller, at it neither."""
    beyond = 2.0 * price - (bid + ask)
    if abs(beyond) <= TIE * (abs(bid) + abs(ask)):
        return 0
    return 1 if beyond > 0.0 else -1


@_compiled
def share(part: float, price: float) -> float:
    """`part` of a price in basis points, NaN where the price is not above zero."""
    return _BASIS_POINTS * part / price if price > 0.0 else np.nan


@_compiled
def has_side(price: float, size: float, floor: float) -> bool:
    """Whether a side of a quote states a price. Where prices may be zero, the size tells that from an empty side."""
    return bool(price > floor and (price != 0.0 or size > 0.0))


@_compiled
def summarise(
    trades: FlatTrades,
    quotes: FlatQuotes,
    span: Span,
    hours: SessionBounds,
    floor: float,
    states_sides: bool,
    minutes: Array,
    state: Any,
    waiting: Waiting,
    head: int,
    tail: int,
    is_begun: bool,
    until: int,
) -> tuple[int, int, int]:
    """Fill `minutes`, whose `start` is set, from one symbol's ticks; returns a fault or OK, and what then waits.

    Events at one instant: a trade comes before a quote, so that its quote in force is strictly earlier; trades, and
    quotes, keep their own order. The pass takes up where an earlier one left `state` and rows `head` to `tail` of
    `waiting`, which has room for all the span's trades behind them, in the midst of the first minute if it `is_begun`, and
    ends before `until`: minutes part by part give what they give at once. Prices lie above `floor`.
    """
    # Arrays are named outside the loop: to take one from its tuple for every tick costs more than the tick.
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
                    side = int(trait >> SIDE_SHIFT) - 1 if states_sides else UNSTATED
                    state.measured = 0.0
                    _enter_trade(minute, state, at, price[trade], size[trade], trait >> shift, side, floor)
                    if state.measured != 0.0:
                        waiting_time[tail], waiting_price[tail] = at, price[trade]
                        signed[tail], mids[tail] = state.measured, state.mid
                        tail += 1
                trade += 1
            while head < tail and waiting_time[head] + REALISED_DELAY <= now:
                if state.is_valid:
                    gain = 2.0 * share(waiting_price[head] - state.mid, mids[head])
                    minute.realised_weighted += gain * signed[head]
                    minute.realised_size += abs(signed[head])
                head += 1
            if not has_quote:
                break
            if quote > span.first_quote and now < quote_time[quote - 1]:
                return OUT_OF_ORDER, head, tail
            _enter_quote(minute, state, now, bid[quote], ask[quote], bid_size[quote], ask_size[quote], floor)
            quote += 1
        if end == minute.start + NS_PER_MINUTE:
            _finish(minute, state)
    return OK, head, tail


@_compiled
def summarise_part(
    trades: FlatTrades,
    quotes: FlatQuotes,
    since: int,
    until: int,
    modes: Array,
    hours: SessionBounds,
    floor: float,
    states_sides: bool,
    minutes: Array,
    is_begun: Array,
    states: Array,
    before: Waiting,
    then: Waiting,
    after: Waiting,
) -> int:
    """Pass over a part of one minute of every symbol, from `since` to `until`; returns a fault or OK.

    Symbol `i` fills `minutes[i]` and moves `states[i]` on, if `modes[i]` says so; `is_begun[i]` tells and learns whether it
    has done so before. Trades are those of the minute, quotes those of the part. What waits before the part is in
    `before`, for symbols that are not passed in `then`; `after` is filled and has room for both and all trades.
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
                trades, quotes, span, hours, floor, states_sides, own, state, after, head, tail, is_begun[symbol], until
            )
            if fault != OK:
                return fault
            is_begun[symbol] = True
        for row in range(head, tail):
            _move(after, row, after, fill)
            fill += 1
    after.offsets[modes.size] = fill
    return OK


@_compiled
def _move(source: Waiting, row: int, target: Waiting, at: int) -> None:
    target.time[at], target.price[at] = source.time[row], source.price[row]
    target.signed[at], target.mid[at] = source.signed[row], source.mid[row]


@_compiled
def _begin(minute: Any, state: Any, regular_start: int, regular_end: int) -> None:
    start = minute.start
    minute.high = minute.low = np.nan
    is_first = state.segment_start == 0
    state.since = start
    state.sample_end = start + SAMPLING
    # Before, within and after regular hours are three markets: what one learnt of its usual volume misleads the next.
    for bound in (regular_start, regular_end):
        is_first |= state.segment_start < bound <= start
    if is_first:
        state.segment_start = start
        state.minutes = state.buckets = 0
        state.filled = state.net = state.bucket = state.mean = 0.0


@_compiled
def _enter_trade(
    minute: Any, state: Any, at: int, price: float, size: float, may_update: int, side: int, floor: float
) -> None:
    """Enter a trade, `side` as its market states it; `state.measured` is its signed size if a later midquote matters."""
    if may_update & _VOLUME:
        minute.volume += size
        minute.notional += size * price
        minute.trade_count += 1
        state.last_trade = at
    if not price > floor:
        return
    if may_update & _HIGH_LOW:
        # NaN gives way to any price.
        minute.high = minute.high if price <= minute.high else price
        minute.low = minute.low if price >= minute.low else price
    if not may_update & _OPEN_CLOSE:
        return
    _enter_price(minute, state, at, price)
    if not may_update & _VOLUME:
        return
    if side == UNSTATED:
        side = quote_side(price, state.bid, state.ask) if state.is_valid else 0
        if side == 0:
            side = state.direction
    if state.is_valid:
        minute.effective_weighted += 2.0 * share(abs(price - state.mid), state.mid) * size
        minute.effective_size += size
        state.measured = side * size
    # Without branches: no predictor guesses who comes next.
    minute.buy_volume += size * (side > 0)
    minute.buy_count += side > 0
    minute.sell_volume += size * (side < 0)
    minute.sell_count += side < 0
    minute.signed_notional += side * size * price
    poured = abs(side) * size
    if state.filled + poured < state.bucket:
        state.filled += poured
        state.net += side * size
    elif side != 0:
        _overflow(state, size, side)


@_compiled
def _enter_price(minute: Any, state: Any, at: int, price: float) -> None:
    """Move the last price: close the sampling interval that has ended, and learn the tick."""
    if at >= state.sample_end:
        _sample(minute, state)
        state.sample_end = at - (at - minute.start) % SAMPLING + SAMPLING
    if not np.isnan(state.last):
        change = price - state.last
        if not np.isnan(state.change):
            minute.change_product += change * state.change
            minute.change_sum += change
            minute.change_before_sum += state.change
            minute.changes += 1
        if change != 0.0:
            state.direction = 1 if change > 0.0 else -1
        state.change = change
    state.last = price


@_compiled
def _sample(minute: Any, state: Any) -> None:
    if not np.isnan(state.reference):
        if min(state.last, state.reference) <= 0.0:
            minute.squared_returns = np.nan
        elif state.last != state.reference:
            minute.squared_returns += np.log(state.last / state.reference) ** 2
        minute.samples += 1
    state.reference = state.last


@_compiled
def _overflow(state: Any, size: float, side: int) -> None:
    """Pour a signed trade that fills the volume bucket, or finds none; each next one is sized by the mean so far."""
    if state.bucket == 0.0:
        state.bucket = state.mean
    while 0.0 < state.bucket <= state.filled + size:
        poured = state.bucket - state.filled
        slot = state.buckets % VPIN_BUCKETS
        state.imbalances[slot] = abs(state.net + side * poured)
        state.capacities[slot] = state.bucket
        state.buckets += 1
        size -= poured
        state.filled = state.net = 0.0
        state.bucket = state.mean
        if state.bucket > 0.0:
            # Of a print of very many buckets, only the last can be seen later.
            size -= max(0.0, np.floor(size / state.bucket) - VPIN_BUCKETS) * state.bucket
    if state.bucket > 0.0:
        state.filled += size
        state.net += side * size


@_compiled
def _enter_quote(
    minute: Any, state: Any, now: int, bid: float, ask: float, bid_size: float, ask_size: float, floor: float
) -> None:
    _accrue(minute, state, now)
    minute.quote_count += 1
    state.last_quote = now
    is_two_sided = has_side(bid, bid_size, floor) and has_side(ask, ask_size, floor)
    if is_two_sided:
        minute.two_sided += 1
        minute.crossed += bid > ask
        if state.is_two_sided:
            # Without branches, as above.
            pressure = bid_size * (bid >= state.bid) - state.bid_size * (bid <= state.bid)
            pressure += state.ask_size * (ask >= state.ask) - ask_size * (ask <= state.ask)
            if not np.isnan(pressure):
                minute.ofi += pressure
                minute.ofi_turnover += abs(pressure)
    state.bid, state.ask, state.bid_size, state.ask_size = bid, ask, bid_size, ask_size
    state.is_two_sided = is_two_sided
    state.is_valid = is_two_sided and bid <= ask
    if state.is_valid:
        state.mid = 0.5 * (bid + ask)


@_compiled
def _accrue(minute: Any, state: Any, until: int) -> None:
    """Count the time that the quote in force has stood."""
    elapsed = until - state.since
    state.since = until
    if elapsed == 0 or not state.is_valid:
        return
    minute.spread_time += share(state.ask - state.bid, state.mid) * elapsed
    minute.valid_ns += elapsed
    depth = state.bid_size + state.ask_size
    if depth > 0.0:
        minute.depth_time += (state.bid_size - state.ask_size) / depth * elapsed
        minute.depth_ns += elapsed


@_compiled
def _finish(minute: Any, state: Any) -> None:
    _accrue(minute, state, minute.start + NS_PER_MINUTE)
    _sample(minute, state)
    minute.last_price, minute.mid_price = state.last, state.mid
    minute.last_trade, minute.last_quote = state.last_trade, state.last_quote
    minute.vpin = np.nan
    if state.buckets >= VPIN_BUCKETS:
        minute.vpin = state.imbalances.sum() / state.capacities.sum()
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


@_compiled
def rule_sides(
    trades: FlatTrades,
    quotes: FlatQuotes,
    span: Span,
    hours: SessionBounds,
    floor: float,
    by_quote: Array,
    by_tick: Array,
) -> None:
    """What the quote rule and the tick rule, each alone, say of every trade of one symbol that sets price and volume."""
    quote, last, direction = span.first_quote, np.nan, 0
    for row in range(span.first_trade, span.last_trade):
        at, price = trades.time[row], trades.price[row]
        while quote < span.last_quote and quotes.time[quote] < at:
            quote += 1
        if trades.withdrawn.size and trades.withdrawn[row]:
            continue
        trait = trades.traits[trades.condition[row]]
        may_update = trait if hours.regular_start <= at < hours.regular_end else trait >> EXTENDED_SHIFT
        if not price > floor or not may_update & _OPEN_CLOSE:
            continue
        if not np.isnan(last) and price != last:
            direction = 1 if price > last else -1
        last = price
        if not may_update & _VOLUME:
            continue
        by_tick[row] = direction
        if quote > span.first_quote:
            bid, ask = quotes.bid[quote - 1], quotes.ask[quote - 1]
            bid_size, ask_size = quotes.bid_size[quote - 1], quotes.ask_size[quote - 1]
            if has_side(bid, bid_size, floor) and has_side(ask, ask_size, floor) and bid <= ask:
                by_quote[row] = quote_side(price, bid, ask)
