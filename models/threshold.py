"""The threshold of a detector, from the number of alerts that a desk can look at."""

import numpy as np

from models.base import DetectorError, Scores

#: Alert minutes per symbol and hour, on the training days.
ALERTS_PER_SYMBOL_HOUR = 0.7
_MINUTES_PER_HOUR = 60


def for_budget(scores: Scores, alerts_per_symbol_hour: float = ALERTS_PER_SYMBOL_HOUR) -> float:
    """The lowest threshold at which the training minutes raise no more alert minutes than the budget.

    Args:
        scores: one a training minute.
        alerts_per_symbol_hour: the budget; above 0 and below 60.

    Raises:
        DetectorError: no scores, or a budget outside its range.
    """
    if not 0 < alerts_per_symbol_hour < _MINUTES_PER_HOUR:
        raise DetectorError(f"an alert budget lies between 0 and 60 minutes an hour, not {alerts_per_symbol_hour}")
    if not scores.size:
        raise DetectorError("no scores to take a threshold from")
    allowed = int(scores.size * alerts_per_symbol_hour / _MINUTES_PER_HOUR)
    ordered = np.sort(scores)[::-1]
    # A score at the threshold is an alert, so the threshold lies just above the first score that must not be one.
    return float(np.nextafter(ordered[min(allowed, scores.size - 1)], np.inf))
