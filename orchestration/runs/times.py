"""Times and durations as text."""

import datetime as dt

_MINUTE_S, _HOUR_S = 60, 3_600


def in_words(seconds: float) -> str:
    """A duration: `40 s`, `12 min`, `3 h 5 min`."""
    if seconds < 2 * _MINUTE_S:
        return f"{max(1, round(seconds))} s"
    if seconds < 2 * _HOUR_S:
        return f"{round(seconds / _MINUTE_S)} min"
    hours, rest = divmod(round(seconds / _MINUTE_S), 60)
    return f"{hours} h {rest} min"


def iso_time(time: dt.datetime) -> str:
    """A time as ISO 8601 in UTC, to the second: `2024-06-03T14:31:00Z`."""
    return f"{time.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%SZ}"
