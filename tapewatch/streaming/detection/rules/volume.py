"""Rules on volume and signed order flow. Compiled into the pass of `kernel`."""

from typing import Any

import numpy as np

from tapewatch.market.instruments import NS_PER_MINUTE
from tapewatch.streaming.detection.rules import state
from tapewatch.streaming.detection.rules.opening import compiled, judge
from tapewatch.streaming.detection.rules.state import Context

#: Minutes of flow that a symbol needs before it is judged.
_FLOW_ENOUGH = 24
#: Scales the median absolute deviation to a standard deviation.
_MAD = 1.4826
_LEAST_LOG_SCALE = 0.35


@compiled
def update_usual_volume(s: Any, i: int, ctx: Context) -> None:
    """Compute the recent mean, the time-of-day factor, and centre and scale of the log volume, once a minute."""
    count = min(s.minutes, state.RECENT)
    s.recent_volume = s.volumes[:count].mean()
    s.day_factor = 1.0
    at = s.minute - ctx.hours.regular_start // NS_PER_MINUTE
    if ctx.limits.volume_by_time_of_day and ctx.profile.shape[1] > 0 and count <= at < ctx.profile.shape[1]:
        before = ctx.profile[i, at - count : at].mean()
        if before > 0 and ctx.profile[i, at] > 0:
            # The profile of a few past days is noisy, so it may only raise the baseline.
            s.day_factor = min(max(ctx.profile[i, at] / before, 1.0), 5.0)
    offset = 0.1 * s.recent_volume + 1e-12
    logs = np.log(s.volumes[:count] + offset)
    s.log_centre = np.median(logs)
    s.log_scale = max(_MAD * np.median(np.abs(logs - s.log_centre)), _LEAST_LOG_SCALE)


@compiled
def judge_volume(s: Any, i: int, now: int, ctx: Context) -> None:
    """Compare the running minute's volume with what the minute usually has."""
    if s.minutes < ctx.limits.warmup_minutes or s.recent_volume <= 0:
        return
    baseline = s.recent_volume * s.day_factor
    fires = False
    if s.volume >= ctx.limits.volume_spike_multiple * baseline and s.trades >= ctx.limits.volume_spike_min_trades:
        score = (np.log(s.volume / s.day_factor + 0.1 * s.recent_volume) - s.log_centre) / s.log_scale
        is_spread_out = s.largest <= ctx.limits.volume_spike_max_print_share * s.volume
        fires = (
            score >= ctx.limits.volume_spike_score and is_spread_out and s.volume >= ctx.limits.volume_spike_min_volume
        )
    limit = ctx.limits.close_share * ctx.limits.volume_spike_multiple * baseline
    judge(state.VOLUME, i, now, now, s.volume, baseline, fires, limit, ctx)


@compiled
def judge_flow(s: Any, i: int, now: int, ctx: Context) -> None:
    """Compare the score of signed orders, (buys − sells) / √orders, with its usual size."""
    buys, sells = s.buys + s.buys_before, s.sells + s.sells_before
    total = buys + sells
    if (
        total < ctx.limits.order_flow_imbalance_min_orders
        or s.minutes < ctx.limits.warmup_minutes
        or s.flows < _FLOW_ENOUGH
    ):
        return
    score, usual = (buys - sells) / np.sqrt(total), max(s.usual_flow, 0.8)
    threshold = max(ctx.limits.order_flow_imbalance_multiple * usual, ctx.limits.order_flow_imbalance_min_score)
    fires = abs(score) >= threshold and abs(buys - sells) >= ctx.limits.order_flow_imbalance_min_share * total
    judge(state.FLOW, i, now, now, score, usual, fires, ctx.limits.close_share * threshold, ctx)
