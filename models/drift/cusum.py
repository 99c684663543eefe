"""A sequential test of a mean that may shift at any day (Page 1954): two one-sided cumulative sums."""

from dataclasses import dataclass
from typing import Self

#: Shifts of under twice this many standard deviations are ignored.
SLACK = 0.5
#: A sum beyond this is a shift. Without one, a normal series gets here once in some 465 days, in either direction (Siegmund 1985).
LIMIT = 5.0


@dataclass(frozen=True, slots=True)
class Cusum:
    """The sums so far, in standard deviations."""

    up: float = 0.0
    down: float = 0.0

    def after(self, deviation: float) -> Self:
        """The sums after one more day, whose mean is so many standard deviations off."""
        return type(self)(max(0.0, self.up + deviation - SLACK), max(0.0, self.down - deviation - SLACK))

    @property
    def is_shifted(self) -> bool:
        """Whether either sum is beyond the limit."""
        return max(self.up, self.down) > LIMIT
