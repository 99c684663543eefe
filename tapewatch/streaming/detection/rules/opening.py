"""How an alert opens and stays open, for every rule."""

from typing import Any

from tapewatch.market.compiled import njit
from tapewatch.streaming.detection.rules.state import AlertStates, Context

compiled = njit(cache=True, nogil=True, error_model="numpy")
BASIS_POINTS = 1e4


def open_alert(
    alerts: AlertStates, rule: int, i: int, start: int, now: int, value: float, baseline: float, limit: float
) -> None:
    """Open the alert of one rule and symbol, and add it to `opened`."""
    alert = alerts.table[rule, i]
    alert["is_open"] = 1
    alert["start"] = start
    alert["known"] = now
    alert["last"] = now
    alert["observations"] = 1
    alert["value"] = value
    alert["peak"] = value
    alert["baseline"] = baseline
    alert["limit"] = limit
    alerts.opened[0, 0] += 1
    count = alerts.opened[0, 0]
    alerts.opened[count, 0] = rule
    alerts.opened[count, 1] = i


def continue_alert(alert: Any, now: int, peak: float) -> None:
    """Keep an open alert open."""
    alert["last"] = now
    alert["observations"] += 1
    alert["peak"] = peak


# The rules that are judged by time call the functions above, the compiled rules these.
_inlined = njit(cache=True, nogil=True, error_model="numpy", inline="always")
_open_alert, _continue_alert = _inlined(open_alert), _inlined(continue_alert)


@compiled
def judge(
    rule: int, i: int, now: int, start: int, value: float, baseline: float, fires: bool, limit: float, ctx: Context
) -> None:
    """Open an alert where the rule fires, or keep the open one open while |value| stays at or above its limit."""
    alert = ctx.alerts.table[rule, i]
    if alert.is_open:
        if abs(value) >= alert.limit and value * alert.value >= 0:
            _continue_alert(alert, now, value if abs(value) > abs(alert.peak) else alert.peak)
    elif fires:
        _open_alert(ctx.alerts, rule, i, start, now, value, baseline, limit)
