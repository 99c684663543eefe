"""Rules on prices: moves, bad prints and ranges of minutes. Compiled into the pass of `kernel`."""

from typing import Any

import numpy as np

from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND
from tapewatch.streaming.detection.rules import state
from tapewatch.streaming.detection.rules.opening import BASIS_POINTS, compiled, judge
from tapewatch.streaming.detection.rules.state import Context

_CONFIRMING_PRINTS = 3


@compiled
def judge_price(s: Any, i: int, now: int, price: float, is_settled: bool, ctx: Context) -> None:
    """Update the price and judge its move; `is_settled`: the price is a bar's close, which needs no check for bad prints."""
    window = int(ctx.limits.price_move_window_s * NS_PER_SECOND)
    usual = max(s.usual_move, 0.5) * np.sqrt(max(window, now - s.price_time) / NS_PER_MINUTE)
    is_warm = s.minutes >= ctx.limits.warmup_minutes and s.moves >= state.ENOUGH_MINUTES
    if s.price_count == 0:
        s.split_until = now + int(ctx.limits.price_move_split_minutes * NS_PER_MINUTE)
    elif now < s.split_until and _is_split(price / s.price):
        s.price_count, s.sample_count, s.minute_price, s.odd_time, s.high, s.low = 0, 0, 0.0, 0, 0.0, 0.0
    if s.price_count > 0 and not is_settled:
        _judge_print(s, i, now, price, usual, is_warm, ctx)
    s.prices[s.price_count % state.PRICES] = price
    s.price_count += 1
    # The median of the last prints: a single bad print does not move it.
    s.price = price if is_settled else np.median(s.prices[: min(s.price_count, state.PRICES)])
    s.price_time = now
    if not is_settled:
        s.high = max(s.high, s.price)
        s.low = min(s.low, s.price) if s.low > 0 else s.price
    lowest, highest = s.price, s.price
    for k in range(max(0, s.sample_count - state.SAMPLES), s.sample_count):
        is_newest = k == s.sample_count - 1
        if s.sample_time[k % state.SAMPLES] >= now - window or is_newest:
            lowest = min(lowest, s.sample_price[k % state.SAMPLES])
            highest = max(highest, s.sample_price[k % state.SAMPLES])
    step = window // (state.SAMPLES - 2)
    if s.sample_count == 0 or now - s.sample_time[(s.sample_count - 1) % state.SAMPLES] >= step:
        s.sample_time[s.sample_count % state.SAMPLES], s.sample_price[s.sample_count % state.SAMPLES] = now, s.price
        s.sample_count += 1
    if ctx.limits.price_move_is_on and is_warm:
        up, down = np.log(s.price / lowest) * BASIS_POINTS, np.log(s.price / highest) * BASIS_POINTS
        moved = up if up > -down else down
        floor = max(ctx.limits.price_move_min_bps, ctx.limits.price_move_min_day_share * _usual_day(s, ctx))
        threshold = max(ctx.limits.price_move_multiple * usual, floor)
        limit = ctx.limits.close_share * threshold
        judge(state.MOVE, i, now, now, moved, usual, abs(moved) >= threshold, limit, ctx)


@compiled
def _judge_print(s: Any, i: int, now: int, price: float, usual: float, is_warm: bool, ctx: Context) -> None:
    """Judge a print far from the median: it is bad if the next prints return, and a move if they follow it."""
    if s.odd_time > 0:
        away = abs(np.log(price / s.odd_base))
        if away < 0.5 * abs(np.log(s.odd_price / s.odd_base)):
            s.odd_back += 1
        else:
            s.odd_away += 1
        if s.odd_back >= _CONFIRMING_PRINTS:
            off = np.log(s.odd_price / s.odd_base) * BASIS_POINTS
            judge(state.PRINT, i, now, s.odd_time, off, usual, True, 0.0, ctx)
        if s.odd_back >= _CONFIRMING_PRINTS or s.odd_away >= _CONFIRMING_PRINTS:
            s.odd_time = 0
    elif ctx.limits.bad_print_is_on and is_warm and s.price_count >= state.PRICES:
        off = abs(np.log(price / s.price)) * BASIS_POINTS
        floor = max(ctx.limits.bad_print_min_bps, ctx.limits.bad_print_min_day_share * _usual_day(s, ctx))
        if off >= ctx.limits.bad_print_multiple * usual and off >= floor:
            s.odd_time, s.odd_price, s.odd_base, s.odd_back, s.odd_away = now, price, s.price, 0, 0


@compiled
def judge_volatility(s: Any, i: int, now: int, ctx: Context) -> None:
    """Compare the median range of the last three minutes with the usual range."""
    if s.minutes < ctx.limits.warmup_minutes or s.ranges_seen < ctx.limits.warmup_minutes:
        return
    if s.is_sampled:
        # `bursts` judges this symbol by its midquotes.
        return
    # The median of three minutes ignores a single jump, which is a move and not a burst.
    value = np.median(s.ranges)
    floor = max(ctx.limits.volatility_burst_min_bps, ctx.limits.volatility_burst_min_day_share * _usual_day(s, ctx))
    threshold = max(ctx.limits.volatility_burst_multiple * s.usual_range, floor)
    limit = ctx.limits.close_share * threshold
    judge(state.VOLATILITY, i, now, now, value, s.usual_range, value >= threshold, limit, ctx)


@compiled
def _usual_day(s: Any, ctx: Context) -> float:
    """Standard deviation of a usual session's move, bps; see `hours.day_per_minute`."""
    return float(1.25 * s.day_move * np.sqrt(ctx.limits.day_minutes))


@compiled
def _is_split(ratio: float) -> bool:
    larger = ratio if ratio > 1 else 1 / ratio
    if larger < 1.45:
        return False
    whole = np.round(larger)
    return abs(larger / 1.5 - 1) < 0.02 or (whole <= 50 and abs(larger / whole - 1) < 0.02)
