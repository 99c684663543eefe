"""Compiled steps of the pass: what one trade or one quote changes in a minute's sums."""

from typing import Any

import numpy as np

from tapewatch.features.records import VPIN_BUCKETS
from tapewatch.market.compiled import njit
from tapewatch.market.conditions import Updates
from tapewatch.market.instruments import NS_PER_SECOND

SAMPLING = 5 * NS_PER_SECOND
#: Prices closer than this share of their sum are the same: 10.015 and (10.01 + 10.02) / 2 differ in the last bit.
TIE = 1e-9
#: In place of a side, where it has to be inferred because the market does not state it.
UNSTATED = 2
OPEN_CLOSE, VOLUME = int(Updates.OPEN_CLOSE), int(Updates.VOLUME)
_HIGH_LOW = int(Updates.HIGH_LOW)
_BASIS_POINTS = 1e4

compiled = njit(cache=True, nogil=True, error_model="numpy")


@compiled
def quote_side(price: float, bid: float, ask: float) -> int:
    """The quote rule: 1 (buyer) above the midpoint, -1 (seller) below it, 0 at it."""
    beyond = 2.0 * price - (bid + ask)
    if abs(beyond) <= TIE * (abs(bid) + abs(ask)):
        return 0
    return 1 if beyond > 0.0 else -1


@compiled
def share(part: float, price: float) -> float:
    """`part` of a price in basis points, NaN where the price is not above zero."""
    return _BASIS_POINTS * part / price if price > 0.0 else np.nan


@compiled
def has_side(price: float, size: float, floor: float) -> bool:
    """Whether a side of a quote has a price. A price of zero with size 0 is an empty side."""
    return bool(price > floor and (price != 0.0 or size > 0.0))


@compiled
def tick_side(price: float, last: float, direction: int) -> int:
    """The tick rule for a trade that sets no last price: against the last price, or the last that differed from it."""
    if np.isnan(last) or price == last:
        return direction
    return 1 if price > last else -1


@compiled
def enter_trade(
    minute: Any,
    state: Any,
    at: int,
    price: float,
    size: float,
    may_update: int,
    is_signed: int,
    side: int,
    floor: float,
) -> None:
    """Enter a trade with the side that its market states; sets `state.measured`, its signed size, for the realised spread.

    A trade that sets no last price has no side unless it is `is_signed`, as odd lots are. One whose price or size is no number
    enters nothing.
    """
    if np.isnan(price) or np.isnan(size):
        return
    if may_update & VOLUME:
        minute.volume += size
        minute.notional += size * price
        minute.trade_count += 1
        state.last_trade = at
    if not price > floor:
        return
    if may_update & _HIGH_LOW:
        # NaN is replaced by any price.
        minute.high = minute.high if price <= minute.high else price
        minute.low = minute.low if price >= minute.low else price
    if may_update & OPEN_CLOSE:
        _enter_price(minute, state, at, price)
        direction = state.direction
    elif is_signed:
        direction = tick_side(price, state.last, state.direction)
    else:
        return
    if not may_update & VOLUME:
        return
    if side == UNSTATED:
        side = quote_side(price, state.bid, state.ask) if state.is_valid else 0
        if side == 0:
            side = direction
    if state.is_valid:
        minute.effective_weighted += 2.0 * share(abs(price - state.mid), state.mid) * size
        minute.effective_size += size
        state.measured = side * size
    # Without branches, since the side is unpredictable for the processor.
    minute.buy_volume += size * (side > 0)
    minute.buy_count += side > 0
    minute.sell_volume += size * (side < 0)
    minute.sell_count += side < 0
    minute.signed_notional += side * size * price
    minute.signed_root_notional += side * np.sqrt(size * abs(price))
    _pair_signs(minute, state, side)
    poured = abs(side) * size
    if state.filled + poured < state.bucket:
        state.filled += poured
        state.net += side * size
    elif side != 0:
        _overflow(state, size, side)


@compiled
def _pair_signs(minute: Any, state: Any, side: int) -> None:
    """Pair a signed trade with the signed trade before it, without branches as above."""
    is_pair = side * state.side != 0
    minute.sign_pairs += is_pair
    minute.sign_product += side * state.side
    minute.sign_sum += side * is_pair
    minute.sign_before_sum += state.side * is_pair
    state.side = side if side != 0 else state.side


@compiled
def _enter_price(minute: Any, state: Any, at: int, price: float) -> None:
    """Update the last price, the sampling interval and the tick direction."""
    if at >= state.sample_end:
        sample(minute, state)
        state.sample_end = at - (at - minute.start) % SAMPLING + SAMPLING
    if np.isnan(minute.open):
        minute.open = price
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


@compiled
def sample(minute: Any, state: Any) -> None:
    if not np.isnan(state.reference):
        step = 0.0
        if min(state.last, state.reference) <= 0.0:
            step = np.nan
        elif state.last != state.reference:
            step = abs(np.log(state.last / state.reference))
        minute.squared_returns += step**2
        # Between intervals that are no neighbours lies one without a return.
        if state.step_end == state.sample_end - SAMPLING:
            minute.bipower += step * state.step
        state.step, state.step_end = step, state.sample_end
        minute.samples += 1
    state.reference = state.last


@compiled
def _overflow(state: Any, size: float, side: int) -> None:
    """Add a signed trade that fills the volume bucket, or opens the first; each new bucket has the mean volume so far."""
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
            # A trade of very many buckets: only the last ones matter.
            size -= max(0.0, np.floor(size / state.bucket) - VPIN_BUCKETS) * state.bucket
    if state.bucket > 0.0:
        state.filled += size
        state.net += side * size


@compiled
def enter_quote(
    minute: Any, state: Any, now: int, bid: float, ask: float, bid_size: float, ask_size: float, floor: float
) -> None:
    accrue(minute, state, now)
    minute.quote_count += 1
    state.last_quote = now
    is_two_sided = has_side(bid, bid_size, floor) and has_side(ask, ask_size, floor)
    if is_two_sided:
        minute.two_sided += 1
        minute.crossed += bid > ask
        if state.is_two_sided:
            pressure = bid_size * (bid >= state.bid) - state.bid_size * (bid <= state.bid)
            pressure += state.ask_size * (ask >= state.ask) - ask_size * (ask <= state.ask)
            is_sized = not np.isnan(pressure)
            if is_sized:
                minute.ofi += pressure
                minute.ofi_turnover += abs(pressure)
            if bid == state.bid and ask == state.ask:
                minute.size_quotes += 1
                if is_sized:
                    minute.size_change += abs(bid_size - state.bid_size) + abs(ask_size - state.ask_size)
    state.bid, state.ask, state.bid_size, state.ask_size = bid, ask, bid_size, ask_size
    state.is_two_sided = is_two_sided
    state.is_valid = is_two_sided and bid <= ask
    if state.is_valid:
        state.mid = 0.5 * (bid + ask)


@compiled
def enter_mid(minute: Any, state: Any, at: int) -> None:
    """Take the midpoint of the quote in force as a price, in a market without trades."""
    if not state.is_valid:
        return
    if at >= state.sample_end:
        sample(minute, state)
        state.sample_end = at - (at - minute.start) % SAMPLING + SAMPLING
    # NaN is replaced by any price.
    minute.high = minute.high if state.mid <= minute.high else state.mid
    minute.low = minute.low if state.mid >= minute.low else state.mid
    state.last = state.mid


@compiled
def accrue(minute: Any, state: Any, until: int) -> None:
    """Add the time during which the quote has been in force."""
    elapsed = until - state.since
    state.since = until
    if elapsed == 0 or not state.is_valid:
        return
    spread = share(state.ask - state.bid, state.mid)
    minute.spread_time += spread * elapsed
    minute.spread_squared_time += spread * spread * elapsed
    minute.valid_ns += elapsed
    depth = state.bid_size + state.ask_size
    if depth > 0.0:
        minute.depth_time += (state.bid_size - state.ask_size) / depth * elapsed
        minute.depth_sum_time += depth * elapsed
        minute.depth_ns += elapsed
