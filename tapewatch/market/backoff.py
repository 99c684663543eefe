"""Exponential backoff: the wait before the next try, for callers that keep their own count of failures."""

# No wait is longer in practice, and 2.0 ** n overflows for very many failures.
_MOST_DOUBLINGS = 60


def backoff_s(failures: int, first_s: float, longest_s: float) -> float:
    """Seconds to wait: `first_s` after no earlier failure, doubled for each earlier one in a row, at most `longest_s`."""
    return min(longest_s, first_s * 2.0 ** min(failures, _MOST_DOUBLINGS))
