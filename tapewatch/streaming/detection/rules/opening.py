"""How an event opens and lasts, whatever the rule; compiled into every pass."""

from tapewatch.market.compiled import njit
from tapewatch.streaming.detection.rules import state
from tapewatch.streaming.detection.rules.state import Room

compiled = njit(cache=True, nogil=True, error_model="numpy")
BASIS_POINTS = 1e4


@compiled
def judge(
    rule: int, i: int, now: int, start: int, value: float, baseline: float, fires: bool, limit: float, room: Room
) -> None:
    """Open an event where the rule fires, or keep the open one alive while |value| stays above its limit."""
    event, opened, cursor = room.incidents[rule, i], room.opened, room.cursor
    if event.is_open:
        if abs(value) >= event.limit and value * event.value >= 0:
            event.last = now
            event.observations += 1
            if abs(value) > abs(event.peak):
                event.peak = value
    elif fires:
        event.is_open = 1
        event.start = start
        event.last = now
        event.observations = 1
        event.value = value
        event.peak = value
        event.baseline = baseline
        event.limit = limit
        opened[cursor[state.OPENED], 0] = rule
        opened[cursor[state.OPENED], 1] = i
        cursor[state.OPENED] += 1
