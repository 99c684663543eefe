"""How long something takes, as a person says it."""

_MINUTE_S, _HOUR_S = 60, 3_600


def in_words(seconds: float) -> str:
    """A length of time as a person says it: `40 s`, `12 min`, `3 h 5 min`."""
    if seconds < 2 * _MINUTE_S:
        return f"{max(1, round(seconds))} s"
    if seconds < 2 * _HOUR_S:
        return f"{round(seconds / _MINUTE_S)} min"
    hours, rest = divmod(round(seconds / _MINUTE_S), 60)
    return f"{hours} h {rest} min"
