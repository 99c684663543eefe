"""Times of a stream: the unit is inferred by magnitude, as the vendor's documentation and frames disagree about it."""

from typing import Final

#: Seconds, milliseconds, microseconds and nanoseconds, in nanoseconds.
UNITS_NS: Final = (1_000_000_000, 1_000_000, 1_000, 1)
#: Times outside 1990-01-01 to 2100-01-01 count as mistakes. The ranges of two units do not overlap.
EARLIEST_S: Final = 631_152_000
LATEST_S: Final = 4_102_444_800


def to_ns(value: int) -> int | None:
    """A time in s, ms, µs or ns as int64 ns UTC; None where it fits none of them."""
    for unit in UNITS_NS:
        per_second = UNITS_NS[0] // unit
        if EARLIEST_S * per_second <= value < LATEST_S * per_second:
            return value * unit
    return None
