"""What a registered model says about a symbol as time passes, and which model says it."""

from dataclasses import dataclass
from typing import Final

#: The rules under which the models raise their own alerts.
SCAN: Final = "scan"
CHAMPION: Final = "champion"
MODEL_RULES: Final = frozenset({SCAN, CHAMPION})


@dataclass(frozen=True)
class Finding:
    """An incident of a symbol as it is known at `known_ns`; `is_over` once it can grow no more. Times are int64 ns UTC.

    `score` is the model's own measure. `hours` says once in how many hours of a symbol's ordinary tape it is as high; None where
    the model is not calibrated so.
    """

    symbol: str
    kind: str
    start_ns: int
    last_ns: int
    known_ns: int
    score: float
    hours: float | None
    words: str
    is_opening: bool
    is_over: bool = False

    @property
    def value(self) -> float:
        """Hours, or the score where there are none."""
        return self.score if self.hours is None else self.hours


@dataclass(frozen=True)
class Source:
    """A model that judges live: its rule, its name and version, and from which value it raises alerts.

    `limit` is in hours for a calibrated model, else a score.
    """

    rule: str
    model: str
    limit: float
