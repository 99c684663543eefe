"""The compiled pass over trades, quotes and bars: updates each symbol's state and applies the tick rules."""

from typing import Any

import numpy as np

from tapewatch.market.arrays import EXTENDED_SHIFT, SIDE_SHIFT
from tapewatch.market.conditions import Updates
from tapewatch.market.instruments import NS_PER_MINUTE
from tapewatch.streaming.detection.rules import state
from tapewatch.streaming.detection.rules.opening import BASIS_POINTS, compiled
from tapewatch.streaming.detection.rules.price import judge_price, judge_volatility
from tapewatch.streaming.detection.rules.quotes import judge_crossed, judge_spread, judge_stuffing
from tapewatch.streaming.detection.rules.state import Context, Events
from tapewatch.streaming.detection.rules.volume import judge_flow, judge_volume, update_usual_volume

#: Length of the running means of moves and ranges, in minutes.
_MEMORY_MINUTES = 60.0
#: The same for order flow. Its windows of eight minutes overlap, so it needs a longer memory.
_FLOW_MEMORY = 240.0
#: Length of the running mean of a day's move, in sessions.
_MEMORY_DAYS = 5.0
_OPEN_CLOSE, _VOLUME = int(Updates.OPEN_CLOSE), int(Updates.VOLUME)


@compiled
def consume(events: Events, book: Any, last_seen: Any, ctx: Context) -> int:
    """Process events in order of time, up to the first one at or after `cursor[UNTIL]`; at equal times trades come first,
    then quotes, then bars.

    Returns: the time of the first event that was not processed, -1 where none is left.
    """
    hours, cursor = ctx.hours, ctx.cursor
    last = np.iinfo(np.int64).max
    while True:
        t, q, b = cursor[state.NEXT_TRADE], cursor[state.NEXT_QUOTE], cursor[state.NEXT_BAR]
        trade_at = events.trade_time[t] if t < events.trade_time.size else last
        quote_at = events.quote_time[q] if q < events.quote_time.size else last
        bar_at = events.bar_time[b] if b < events.bar_time.size else last
        now = min(trade_at, quote_at, bar_at)
        if now == last:
            return -1
        if now >= cursor[state.UNTIL]:
            return int(now)
        cursor[state.CLOCK] = max(cursor[state.CLOCK], now)
        is_active = hours.start <= now < hours.end
        if trade_at == now:
            cursor[state.NEXT_TRADE] += 1
            i = events.trade_symbol[t]
            last_seen[state.TRADE_CHANNEL, i] = max(last_seen[state.TRADE_CHANNEL, i], now)
            traits = events.traits[events.trade_condition[t]]
            is_regular = hours.regular_start <= now < hours.regular_end
            allowed = traits if is_regular else traits >> EXTENDED_SHIFT
            if not events.trade_withdrawn[t]:
                price, size, side = events.trade_price[t], events.trade_size[t], (traits >> SIDE_SHIFT) - 1
                _trade(book[i], i, now, price, size, allowed, side, is_active, ctx)
        elif quote_at == now:
            cursor[state.NEXT_QUOTE] += 1
            i = events.quote_symbol[q]
            last_seen[state.QUOTE_CHANNEL, i] = max(last_seen[state.QUOTE_CHANNEL, i], now)
            _quote(book[i], i, now, events.quote_bid[q], events.quote_ask[q], is_active, ctx)
        else:
            cursor[state.NEXT_BAR] += 1
            i = events.bar_symbol[b]
            last_seen[state.BAR_CHANNEL, i] = max(last_seen[state.BAR_CHANNEL, i], now)
            high, low, close = events.bar_high[b], events.bar_low[b], events.bar_close[b]
            _bar(book[i], i, now, events.bar_length[b], high, low, close, events.bar_volume[b], ctx)


@compiled
def _trade(
    s: Any, i: int, now: int, price: float, size: float, allowed: int, side: int, is_active: bool, ctx: Context
) -> None:
    sets_price, sets_volume = allowed & _OPEN_CLOSE != 0, allowed & _VOLUME != 0
    if s.source != state.FROM_TRADES:
        _start_over(s, state.FROM_TRADES)
    if side == 0:
        side = _side_of(s, price)
    if sets_price:
        if abs(s.tick_price) > 0 and price != s.tick_price:
            s.tick_side = 1 if price > s.tick_price else -1
        s.tick_price = price
    if not is_active or now < s.price_time - NS_PER_MINUTE:
        return
    _turn(s, i, now // NS_PER_MINUTE, now, ctx)
    s.quote_trades += 1
    if sets_volume and now // NS_PER_MINUTE == s.minute:
        s.volume += size
        s.largest = max(s.largest, size)
        s.trades += 1
        if ctx.limits.volume_spike_is_on:
            judge_volume(s, i, now, ctx)
    if sets_price and price > 0:
        # Moves are relative, so a future at zero or below has none. Its volume and flow are still judged.
        judge_price(s, i, now, price, False, ctx)
    if sets_price and side != 0:
        # Fills of one side at one instant count as one order.
        if now != s.order_time or side != s.order_side:
            if side > 0:
                s.buys += 1
            else:
                s.sells += 1
            if ctx.limits.order_flow_imbalance_is_on:
                judge_flow(s, i, now, ctx)
        s.order_time, s.order_side = now, side


@compiled
def _side_of(s: Any, price: float) -> int:
    if s.mid > 0 and abs(price - s.mid) > 1e-9 * price:
        return 1 if price > s.mid else -1
    if abs(s.tick_price) > 0 and price != s.tick_price:
        return 1 if price > s.tick_price else -1
    return int(s.tick_side)


@compiled
def _bar(
    s: Any, i: int, now: int, length: int, high: float, low: float, close: float, volume: float, ctx: Context
) -> None:
    if s.source == state.FROM_TRADES or (s.bar_ns > 0 and length > s.bar_ns):
        return
    if s.source != state.FROM_BARS or s.bar_ns != length:
        _start_over(s, state.FROM_BARS)
        s.bar_ns = length
    start = now - length
    minute = start // NS_PER_MINUTE
    if not (ctx.hours.start <= start < ctx.hours.end) or (s.minute > 0 and minute < s.minute):
        return
    _turn(s, i, minute, now, ctx)
    s.volume += volume
    s.trades += ctx.limits.volume_spike_min_trades
    if ctx.limits.volume_spike_is_on:
        judge_volume(s, i, now, ctx)
    if low > 0:
        s.high = max(s.high, high)
        s.low = min(s.low, low) if s.low > 0 else low
        judge_price(s, i, now, close, True, ctx)


@compiled
def _start_over(s: Any, source: int) -> None:
    s.source = source
    s.minute, s.minutes, s.price_count, s.sample_count, s.price_time, s.odd_time = 0, 0, 0, 0, 0, 0
    s.moves, s.ranges_seen, s.minute_price, s.high, s.low, s.volume, s.trades = 0, 0, 0.0, 0.0, 0.0, 0.0, 0
    s.split_until = 0


@compiled
def _turn(s: Any, i: int, minute: int, now: int, ctx: Context) -> None:
    """Finish the minutes before `minute`; a minute without trades counts as one without volume."""
    if s.minute == 0:
        s.minute = minute
        return
    if minute - s.minute > state.FORGOTTEN_MINUTES:
        s.minutes, s.minute = 0, minute
        s.volume, s.largest, s.trades, s.buys, s.sells, s.high, s.low = 0.0, 0.0, 0, 0.0, 0.0, 0.0, 0.0
        s.minute_price, s.price_count, s.sample_count, s.odd_time = 0.0, 0, 0, 0
        s.ranges[:], s.buy_ring[:], s.sell_ring[:], s.buys_before, s.sells_before = 0.0, 0.0, 0.0, 0.0, 0.0
        return
    while s.minute < minute:
        _finish_minute(s, i, now, ctx)
        s.minute += 1
        if s.minute == minute:
            update_usual_volume(s, i, ctx)


@compiled
def _finish_minute(s: Any, i: int, now: int, ctx: Context) -> None:
    s.volumes[s.minutes % state.RECENT] = s.volume
    has_range = s.low > 0 and s.high >= s.low
    minute_range = np.log(s.high / s.low) * BASIS_POINTS if has_range else 0.0
    s.ranges[s.minutes % state.RANGES] = minute_range
    if ctx.limits.volatility_burst_is_on:
        judge_volatility(s, i, now, ctx)
    if has_range:
        s.usual_range, s.ranges_seen = (
            _learn(s.usual_range, minute_range, s.ranges_seen, _MEMORY_MINUTES),
            s.ranges_seen + 1,
        )
    if s.price > 0 and has_range:
        if s.minute_price > 0:
            moved = abs(np.log(s.price / s.minute_price)) * BASIS_POINTS
            s.usual_move, s.moves = _learn(s.usual_move, moved, s.moves, _MEMORY_MINUTES), s.moves + 1
            s.day_move += (min(moved, 4.0 * s.day_move) - s.day_move) / (_MEMORY_DAYS * ctx.limits.day_minutes)
        s.minute_price = s.price
    total = s.buys + s.sells + s.buys_before + s.sells_before
    if total >= ctx.limits.order_flow_imbalance_min_orders:
        score = abs(s.buys + s.buys_before - s.sells - s.sells_before) / np.sqrt(total)
        s.usual_flow, s.flows = _learn(s.usual_flow, score, s.flows, _FLOW_MEMORY), s.flows + 1
    s.buy_ring[s.minutes % state.FLOWS], s.sell_ring[s.minutes % state.FLOWS] = s.buys, s.sells
    s.buys_before, s.sells_before = s.buy_ring.sum(), s.sell_ring.sum()
    s.minutes += 1
    s.volume, s.largest, s.trades, s.buys, s.sells, s.high, s.low = 0.0, 0.0, 0, 0.0, 0.0, 0.0, 0.0


@compiled
def _learn(usual: float, value: float, count: int, memory: float) -> float:
    """Update a running mean. An outlier counts as four times the usual, so that it moves the mean little."""
    if count >= state.ENOUGH_MINUTES and usual > 0:
        value = min(value, 4.0 * usual)
    return usual + (value - usual) / min(count + 1.0, memory)


@compiled
def _quote(s: Any, i: int, now: int, bid: float, ask: float, is_active: bool, ctx: Context) -> None:
    is_two_sided = bid > 0 and ask > 0
    elapsed = now - s.quote_time
    if is_active and is_two_sided and ctx.limits.data_quality_is_on:
        judge_crossed(s, i, now, bid > ask, elapsed, ctx)
    if is_active and ctx.limits.quote_stuffing_is_on:
        judge_stuffing(s, i, now, ctx)
    if not is_two_sided or bid > ask:
        s.mid = 0.0
        return
    s.mid = 0.5 * (bid + ask)
    if is_active and now >= s.quote_time:
        judge_spread(s, i, now, (ask - bid) / s.mid * BASIS_POINTS, elapsed, ctx)
        s.quote_time = now
        if s.source <= state.FROM_QUOTES:
            s.source = state.FROM_QUOTES
            _turn(s, i, now // NS_PER_MINUTE, now, ctx)
            judge_price(s, i, now, s.mid, False, ctx)
