"""The compiled pass over trades, quotes and bars: updates each symbol's state and applies the tick rules."""

from typing import Any

import numpy as np

from tapewatch.market.arrays import EXTENDED_SHIFT, SIDE_SHIFT
from tapewatch.market.conditions import Updates
from tapewatch.market.instruments import NS_PER_MINUTE
from tapewatch.streaming.detection.rules import state
from tapewatch.streaming.detection.rules.opening import BASIS_POINTS, compiled, judge
from tapewatch.streaming.detection.rules.quotes import judge_crossed, judge_spread, judge_stuffing
from tapewatch.streaming.detection.rules.state import Events, Room

#: Minutes over which the usual size of moves and ranges is forgotten, and that of flow.
_MEMORY_MINUTES = 60.0
#: Its windows overlap: an hour of them would be eight.
_FLOW_MEMORY, _FLOW_ENOUGH = 240.0, 24
#: Sessions over which the usual size of a day is forgotten.
_MEMORY_DAYS = 5.0
_CONFIRMING_PRINTS = 3
_MAD = 1.4826
_LEAST_LOG_SCALE = 0.35
_OPEN_CLOSE, _VOLUME = int(Updates.OPEN_CLOSE), int(Updates.VOLUME)


@compiled
def consume(events: Events, book: Any, heard: Any, room: Room) -> int:
    """Take events in order of time, trades before quotes before bars where times tie, up to the one at or past state.UNTIL.

    Notes each opening as (rule, symbol) in `opened`. Returns the time of the first event not taken, -1 where none is left.
    """
    hours, cursor = room.hours, room.cursor
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
            heard[state.TRADE_CHANNEL, i] = max(heard[state.TRADE_CHANNEL, i], now)
            traits = events.traits[events.trade_condition[t]]
            is_regular = hours.regular_start <= now < hours.regular_end
            allowed = traits if is_regular else traits >> EXTENDED_SHIFT
            if not events.trade_withdrawn[t]:
                price, size, side = events.trade_price[t], events.trade_size[t], (traits >> SIDE_SHIFT) - 1
                _trade(book[i], i, now, price, size, allowed, side, is_active, room)
        elif quote_at == now:
            cursor[state.NEXT_QUOTE] += 1
            i = events.quote_symbol[q]
            heard[state.QUOTE_CHANNEL, i] = max(heard[state.QUOTE_CHANNEL, i], now)
            _quote(book[i], i, now, events.quote_bid[q], events.quote_ask[q], is_active, room)
        else:
            cursor[state.NEXT_BAR] += 1
            i = events.bar_symbol[b]
            heard[state.BAR_CHANNEL, i] = max(heard[state.BAR_CHANNEL, i], now)
            high, low, close = events.bar_high[b], events.bar_low[b], events.bar_close[b]
            _bar(book[i], i, now, events.bar_length[b], high, low, close, events.bar_volume[b], room)


@compiled
def _trade(
    s: Any, i: int, now: int, price: float, size: float, allowed: int, side: int, is_active: bool, room: Room
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
    _turn(s, i, now // NS_PER_MINUTE, now, room)
    s.quote_trades += 1
    if sets_volume and now // NS_PER_MINUTE == s.minute:
        s.volume += size
        s.largest = max(s.largest, size)
        s.trades += 1
        if room.limits.volume_multiple > 0:
            _judge_volume(s, i, now, room)
    if sets_price and price > 0:
        # Moves are relative: where a future's price is zero or below there are none, and its volume and flow are watched on.
        _judge_price(s, i, now, price, False, room)
    if sets_price and side != 0:
        # Fills of one order at one instant are one decision.
        if now != s.order_time or side != s.order_side:
            if side > 0:
                s.buys += 1
            else:
                s.sells += 1
            if room.limits.flow_multiple > 0:
                _judge_flow(s, i, now, room)
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
    s: Any, i: int, now: int, length: int, high: float, low: float, close: float, volume: float, room: Room
) -> None:
    if s.source == state.FROM_TRADES or (s.bar_ns > 0 and length > s.bar_ns):
        return
    if s.source != state.FROM_BARS or s.bar_ns != length:
        _start_over(s, state.FROM_BARS)
        s.bar_ns = length
    start = now - length
    minute = start // NS_PER_MINUTE
    if not (room.hours.start <= start < room.hours.end) or (s.minute > 0 and minute < s.minute):
        return
    _turn(s, i, minute, now, room)
    s.volume += volume
    s.trades += room.limits.volume_trades
    if room.limits.volume_multiple > 0:
        _judge_volume(s, i, now, room)
    if low > 0:
        s.high = max(s.high, high)
        s.low = min(s.low, low) if s.low > 0 else low
        _judge_price(s, i, now, close, True, room)


@compiled
def _start_over(s: Any, source: int) -> None:
    s.source = source
    s.minute, s.minutes, s.price_count, s.sample_count, s.price_time, s.odd_time = 0, 0, 0, 0, 0, 0
    s.moves, s.ranges_seen, s.minute_price, s.high, s.low, s.volume, s.trades = 0, 0, 0.0, 0.0, 0.0, 0.0, 0
    s.split_until = 0


@compiled
def _turn(s: Any, i: int, minute: int, now: int, room: Room) -> None:
    """Finish the minutes before `minute`; silent ones count as minutes without volume."""
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
        _finish_minute(s, i, now, room)
        s.minute += 1
        if s.minute == minute:
            _usual_volume(s, i, room)


@compiled
def _finish_minute(s: Any, i: int, now: int, room: Room) -> None:
    s.volumes[s.minutes % state.RECENT] = s.volume
    has_range = s.low > 0 and s.high >= s.low
    minute_range = np.log(s.high / s.low) * BASIS_POINTS if has_range else 0.0
    s.ranges[s.minutes % state.RANGES] = minute_range
    if room.limits.volatility_multiple > 0:
        _judge_volatility(s, i, now, room)
    if has_range:
        s.usual_range, s.ranges_seen = (
            _learn(s.usual_range, minute_range, s.ranges_seen, _MEMORY_MINUTES),
            s.ranges_seen + 1,
        )
    if s.price > 0 and has_range:
        if s.minute_price > 0:
            moved = abs(np.log(s.price / s.minute_price)) * BASIS_POINTS
            s.usual_move, s.moves = _learn(s.usual_move, moved, s.moves, _MEMORY_MINUTES), s.moves + 1
            s.day_move += (min(moved, 4.0 * s.day_move) - s.day_move) / (_MEMORY_DAYS * room.limits.day_minutes)
        s.minute_price = s.price
    total = s.buys + s.sells + s.buys_before + s.sells_before
    if total >= room.limits.flow_orders:
        score = abs(s.buys + s.buys_before - s.sells - s.sells_before) / np.sqrt(total)
        s.usual_flow, s.flows = _learn(s.usual_flow, score, s.flows, _FLOW_MEMORY), s.flows + 1
    s.buy_ring[s.minutes % state.FLOWS], s.sell_ring[s.minutes % state.FLOWS] = s.buys, s.sells
    s.buys_before, s.sells_before = s.buy_ring.sum(), s.sell_ring.sum()
    s.minutes += 1
    s.volume, s.largest, s.trades, s.buys, s.sells, s.high, s.low = 0.0, 0.0, 0, 0.0, 0.0, 0.0, 0.0


@compiled
def _learn(usual: float, value: float, count: int, memory: float) -> float:
    """The running mean of what is usual; a value far out counts as four times the usual, so that it teaches little."""
    if count >= state.ENOUGH_MINUTES and usual > 0:
        value = min(value, 4.0 * usual)
    return usual + (value - usual) / min(count + 1.0, memory)


@compiled
def _usual_volume(s: Any, i: int, room: Room) -> None:
    count = min(s.minutes, state.RECENT)
    s.recent_volume = s.volumes[:count].mean()
    s.day_factor = 1.0
    at = s.minute - room.hours.profile_start // NS_PER_MINUTE
    if room.limits.volume_by_day and room.profile.shape[1] > 0 and count <= at < room.profile.shape[1]:
        before = room.profile[i, at - count : at].mean()
        if before > 0 and room.profile[i, at] > 0:
            # A few past days are noise enough to see spikes by: they only excuse what is usual at this time.
            s.day_factor = min(max(room.profile[i, at] / before, 1.0), 5.0)
    offset = 0.1 * s.recent_volume + 1e-12
    logs = np.log(s.volumes[:count] + offset)
    s.log_centre = np.median(logs)
    s.log_scale = max(_MAD * np.median(np.abs(logs - s.log_centre)), _LEAST_LOG_SCALE)


@compiled
def _judge_volume(s: Any, i: int, now: int, room: Room) -> None:
    if s.minutes < room.limits.warmup_minutes or s.recent_volume <= 0:
        return
    baseline = s.recent_volume * s.day_factor
    fires = False
    if s.volume >= room.limits.volume_multiple * baseline and s.trades >= room.limits.volume_trades:
        score = (np.log(s.volume / s.day_factor + 0.1 * s.recent_volume) - s.log_centre) / s.log_scale
        is_spread_out = s.largest <= room.limits.volume_print_share * s.volume
        fires = score >= room.limits.volume_score and is_spread_out and s.volume >= room.limits.volume_floor
    limit = room.limits.close_share * room.limits.volume_multiple * baseline
    judge(state.VOLUME, i, now, now, s.volume, baseline, fires, limit, room)


@compiled
def _judge_price(s: Any, i: int, now: int, price: float, is_settled: bool, room: Room) -> None:
    usual = max(s.usual_move, 0.5) * np.sqrt(max(room.limits.move_window, now - s.price_time) / NS_PER_MINUTE)
    is_warm = s.minutes >= room.limits.warmup_minutes and s.moves >= state.ENOUGH_MINUTES
    if s.price_count == 0:
        s.split_until = now + room.limits.split_ns
    elif now < s.split_until and _is_split(price / s.price):
        s.price_count, s.sample_count, s.minute_price, s.odd_time, s.high, s.low = 0, 0, 0.0, 0, 0.0, 0.0
    if s.price_count > 0 and not is_settled:
        _judge_print(s, i, now, price, usual, is_warm, room)
    s.prices[s.price_count % state.PRICES] = price
    s.price_count += 1
    # The middle of the last prints: one that reverts at once does not move it.
    s.price = price if is_settled else np.median(s.prices[: min(s.price_count, state.PRICES)])
    s.price_time = now
    if not is_settled:
        s.high = max(s.high, s.price)
        s.low = min(s.low, s.price) if s.low > 0 else s.price
    lowest, highest = s.price, s.price
    for k in range(max(0, s.sample_count - state.SAMPLES), s.sample_count):
        is_newest = k == s.sample_count - 1
        if s.sample_time[k % state.SAMPLES] >= now - room.limits.move_window or is_newest:
            lowest = min(lowest, s.sample_price[k % state.SAMPLES])
            highest = max(highest, s.sample_price[k % state.SAMPLES])
    step = room.limits.move_window // (state.SAMPLES - 2)
    if s.sample_count == 0 or now - s.sample_time[(s.sample_count - 1) % state.SAMPLES] >= step:
        s.sample_time[s.sample_count % state.SAMPLES], s.sample_price[s.sample_count % state.SAMPLES] = now, s.price
        s.sample_count += 1
    if room.limits.move_multiple > 0 and is_warm:
        up, down = np.log(s.price / lowest) * BASIS_POINTS, np.log(s.price / highest) * BASIS_POINTS
        moved = up if up > -down else down
        floor = max(room.limits.move_bps, room.limits.move_share * _usual_day(s, room))
        threshold = max(room.limits.move_multiple * usual, floor)
        limit = room.limits.close_share * threshold
        judge(state.MOVE, i, now, now, moved, usual, abs(moved) >= threshold, limit, room)


@compiled
def _usual_day(s: Any, room: Room) -> float:
    """What a symbol moves in a usual session, in bps: a random walk of usual minutes. 1.25 of its mean size is its deviation."""
    return float(1.25 * s.day_move * np.sqrt(room.limits.day_minutes))


@compiled
def _is_split(ratio: float) -> bool:
    larger = ratio if ratio > 1 else 1 / ratio
    if larger < 1.45:
        return False
    whole = np.round(larger)
    return abs(larger / 1.5 - 1) < 0.02 or (whole <= 50 and abs(larger / whole - 1) < 0.02)


@compiled
def _judge_print(s: Any, i: int, now: int, price: float, usual: float, is_warm: bool, room: Room) -> None:
    """A print far from the prices around it, to which the next prints return, is bad; one that they follow is a move."""
    if s.odd_time > 0:
        away = abs(np.log(price / s.odd_base))
        if away < 0.5 * abs(np.log(s.odd_price / s.odd_base)):
            s.odd_back += 1
        else:
            s.odd_away += 1
        if s.odd_back >= _CONFIRMING_PRINTS:
            off = np.log(s.odd_price / s.odd_base) * BASIS_POINTS
            judge(state.PRINT, i, now, s.odd_time, off, usual, True, 0.0, room)
        if s.odd_back >= _CONFIRMING_PRINTS or s.odd_away >= _CONFIRMING_PRINTS:
            s.odd_time = 0
    elif room.limits.print_multiple > 0 and is_warm and s.price_count >= state.PRICES:
        off = abs(np.log(price / s.price)) * BASIS_POINTS
        floor = max(room.limits.print_bps, room.limits.print_share * _usual_day(s, room))
        if off >= room.limits.print_multiple * usual and off >= floor:
            s.odd_time, s.odd_price, s.odd_base, s.odd_back, s.odd_away = now, price, s.price, 0, 0


@compiled
def _judge_volatility(s: Any, i: int, now: int, room: Room) -> None:
    if s.minutes < room.limits.warmup_minutes or s.ranges_seen < room.limits.warmup_minutes:
        return
    if s.is_sampled:
        # Judged by its midquotes: see `bursts`.
        return
    # The middle of three minutes: a single jump is a move, no burst.
    value = np.median(s.ranges)
    floor = max(room.limits.volatility_bps, room.limits.volatility_share * _usual_day(s, room))
    threshold = max(room.limits.volatility_multiple * s.usual_range, floor)
    limit = room.limits.close_share * threshold
    judge(state.VOLATILITY, i, now, now, value, s.usual_range, value >= threshold, limit, room)


@compiled
def _judge_flow(s: Any, i: int, now: int, room: Room) -> None:
    buys, sells = s.buys + s.buys_before, s.sells + s.sells_before
    total = buys + sells
    if total < room.limits.flow_orders or s.minutes < room.limits.warmup_minutes or s.flows < _FLOW_ENOUGH:
        return
    score, usual = (buys - sells) / np.sqrt(total), max(s.usual_flow, 0.8)
    threshold = max(room.limits.flow_multiple * usual, room.limits.flow_score)
    fires = abs(score) >= threshold and abs(buys - sells) >= room.limits.flow_share * total
    judge(state.FLOW, i, now, now, score, usual, fires, room.limits.close_share * threshold, room)


@compiled
def _quote(s: Any, i: int, now: int, bid: float, ask: float, is_active: bool, room: Room) -> None:
    is_two_sided = bid > 0 and ask > 0
    elapsed = now - s.quote_time
    if is_active and is_two_sided and room.limits.crossed_share > 0:
        judge_crossed(s, i, now, bid > ask, elapsed, room)
    if is_active and room.limits.stuffing_multiple > 0:
        judge_stuffing(s, i, now, room)
    if not is_two_sided or bid > ask:
        s.mid = 0.0
        return
    s.mid = 0.5 * (bid + ask)
    if is_active and now >= s.quote_time:
        judge_spread(s, i, now, (ask - bid) / s.mid * BASIS_POINTS, elapsed, room)
        s.quote_time = now
        if s.source <= state.FROM_QUOTES:
            s.source = state.FROM_QUOTES
            _turn(s, i, now // NS_PER_MINUTE, now, room)
            _judge_price(s, i, now, s.mid, False, room)
