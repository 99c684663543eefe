"""Rules on quotes alone: crossed quotes, wide spreads and quote stuffing. Compiled into the pass of `kernel`."""

from typing import Any

import numpy as np

from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND
from tapewatch.streaming.detection.rules import state
from tapewatch.streaming.detection.rules.opening import compiled, judge
from tapewatch.streaming.detection.rules.state import Context

#: Length of the running mean of the spread, in seconds.
_MEMORY_S = 1800.0


@compiled
def judge_crossed(s: Any, i: int, now: int, is_crossed: bool, elapsed: int, ctx: Context) -> None:
    """Compare the share of crossed quotes, weighted towards the last minutes, with the tolerated share."""
    kept = np.exp(-max(elapsed, 0) / (ctx.limits.data_quality_memory_minutes * NS_PER_MINUTE))
    s.quote_weight = s.quote_weight * kept + 1
    s.crossed_weight = s.crossed_weight * kept + (1.0 if is_crossed else 0.0)
    share = s.crossed_weight / s.quote_weight
    fires = share >= ctx.limits.data_quality_crossed_share and s.quote_weight >= ctx.limits.data_quality_min_quotes
    limit = ctx.limits.close_share * ctx.limits.data_quality_crossed_share
    judge(state.CROSSED, i, now, now, share, ctx.limits.data_quality_crossed_share, fires, limit, ctx)


@compiled
def judge_stuffing(s: Any, i: int, now: int, ctx: Context) -> None:
    """Count a quote of the running minute; compare the count with its usual size and with the growth in trades."""
    minute = now // NS_PER_MINUTE
    if minute != s.quote_minute:
        if minute < s.quote_minute:
            return
        _turn_quotes(s, minute)
    s.quotes += 1
    limits = ctx.limits
    threshold = limits.quote_stuffing_multiple * s.usual_quotes
    # A symbol without trades, as in forex, has nothing to compare its quotes with.
    if s.quotes < limits.close_share * threshold or s.quote_minutes < limits.warmup_minutes or s.usual_prints < 1:
        return
    # Growth in quotes over growth in trades: quotes that trading explains are no stuffing.
    excess = s.quotes * (s.usual_prints + 1.0) / (s.usual_quotes * (s.quote_trades + 1.0))
    fires = s.quotes >= max(threshold, limits.quote_stuffing_min_quotes) and excess >= limits.quote_stuffing_excess
    judge(state.STUFFING, i, now, now, float(s.quotes), s.usual_quotes, fires, limits.close_share * threshold, ctx)


@compiled
def _turn_quotes(s: Any, minute: int) -> None:
    """Finish the minutes before `minute`. The usual counts are means of the last half hour; outliers are capped."""
    if minute - s.quote_minute > state.FORGOTTEN_MINUTES:
        s.quote_minutes, s.quote_minute = 0, minute
    while s.quote_minute < minute:
        count = min(s.quote_minutes + 1.0, float(state.RECENT))
        quotes, prints = float(s.quotes), float(s.quote_trades)
        if s.quote_minutes >= state.ENOUGH_MINUTES:
            quotes = min(quotes, 4.0 * s.usual_quotes + 1.0)
            prints = min(prints, 4.0 * s.usual_prints + 1.0)
        s.usual_quotes += (quotes - s.usual_quotes) / count
        s.usual_prints += (prints - s.usual_prints) / count
        s.quotes, s.quote_trades = 0, 0
        s.quote_minutes += 1
        s.quote_minute += 1
    s.quotes, s.quote_trades = 0, 0


@compiled
def judge_spread(s: Any, i: int, now: int, spread: float, elapsed: int, ctx: Context) -> None:
    """Compare the quoted spread with its time-weighted mean of the last half hour."""
    if s.quotes_from == 0:
        s.quotes_from, s.usual_spread = now, s.usual_spread if s.usual_spread > 0 else spread
    else:
        weight = min(elapsed / NS_PER_SECOND, 60.0) / min(max((now - s.quotes_from) / NS_PER_SECOND, 60.0), _MEMORY_S)
        s.usual_spread += (min(s.spread, 3.0 * s.usual_spread + 0.1) - s.usual_spread) * min(weight, 1.0)
    s.spread = spread
    if not ctx.limits.spread_blowout_is_on or now - s.quotes_from < ctx.limits.warmup_minutes * NS_PER_MINUTE:
        return
    threshold = max(ctx.limits.spread_blowout_multiple * s.usual_spread, ctx.limits.spread_blowout_min_bps)
    if spread >= threshold:
        s.wide_since = now if s.wide_since == 0 else s.wide_since
        s.wide_quotes += 1
    else:
        s.wide_since, s.wide_quotes = 0, 0
    fires = (
        s.wide_since > 0
        and now - s.wide_since >= ctx.limits.spread_blowout_hold_s * NS_PER_SECOND
        and s.wide_quotes >= ctx.limits.spread_blowout_min_quotes
    )
    limit = ctx.limits.close_share * threshold
    judge(state.SPREAD, i, now, s.wide_since, spread, s.usual_spread, fires, limit, ctx)
