"""Distinguishes splits from price shocks by the ratio of the levels, the day's prices and the traded volume."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

Floats = npt.NDArray[np.float64]

#: Tolerance of a split's ratio, and the same in usual ranges, since the price also moves on that day.
_TOLERANCE, _RANGES = 0.04, 1.0
#: Splits divide a price by up to 50; reverse splits multiply it by up to 1,000.
_LARGEST_SPLIT, _LARGEST_REVERSE_SPLIT = 50, 1_000
_COMMON: Final = np.array([5 / 4, 4 / 3, 3 / 2, 5 / 2, *range(2, _LARGEST_REVERSE_SPLIT + 1)])
#: Seldom seen, so that half the tolerance must do.
_SELDOM: Final = np.array([5 / 3, 7 / 2, 9 / 2])
#: Fractions of small numbers lie so close to each other that a chance ratio is near one: 7:4, 9:4, 7:3, 8:3, 10:3, 11:2 …
_LARGEST_NUMERATOR, _LARGEST_DENOMINATOR = 12, 5
_FRACTIONS: Final = np.array(
    sorted({p / q for q in range(2, _LARGEST_DENOMINATOR + 1) for p in range(q + 1, _LARGEST_NUMERATOR + 1)})
)
#: Such a ratio must be met by the open, which no move of the day falsifies, or be confirmed by the volume.
_EXACT, _EXACT_RANGES = 0.005, 0.25
#: Days before and from the split on, whose medians of volume are compared.
_DAYS_BEFORE, _DAYS_AFTER = 20, 10
#: A split leaves the traded value nearly as it was, a crash or a jump multiplies it. So may a reverse split by this or more.
_MOST_VALUE, _LARGEST_JUMP = 4.0, 5.0

#: The columns that `is_split` takes, in order.
SPLIT_COLUMNS: Final = ("before", "open", "close", "high", "low", "usual", "day_value", "lasting_value")


def with_traded_values(days: pl.DataFrame) -> pl.DataFrame:
    """Adds the value traded on a day, and its median over ten days from that day on, as multiples of the twenty days before.

    Args:
        days: sorted daily bars with close, `ticker_run` and, where known, volume.

    Returns: `day_value` and `lasting_value`; null where the volume is unknown or zero.
    """
    if "volume" not in days.columns:
        return days.with_columns(pl.lit(None, pl.Float64).alias(name) for name in ("day_value", "lasting_value"))
    value = pl.when(pl.col("volume") > 0).then(pl.col("close") * pl.col("volume"))
    before = value.shift(1).rolling_median(_DAYS_BEFORE, min_samples=1)
    lasting = value.reverse().rolling_median(_DAYS_AFTER, min_samples=1).reverse()
    return days.with_columns(
        day_value=(value / before).over("ticker_run"), lasting_value=(lasting / before).over("ticker_run")
    )


@dataclass(frozen=True, slots=True)
class _Change:
    """A change of level: prices as multiples of the close before, the usual range as log, traded values as multiples."""

    opened: float
    closed: float
    usual: float
    day_value: float | None
    lasting_value: float | None

    @property
    def is_common(self) -> bool:
        """Whether open or close is at a ratio that is common among splits."""
        tolerance = max(_TOLERANCE, _RANGES * self.usual)
        return any(
            _off(ratio, _common(ratio)) <= tolerance or _off(ratio, _SELDOM) <= tolerance / 2
            for ratio in (self.opened, self.closed)
        )

    @property
    def is_fraction(self) -> bool:
        """Whether it is at a rarer fraction, exactly at the open or with the volume of a split."""
        if _off(self.opened, _FRACTIONS) <= max(_EXACT, _EXACT_RANGES * self.usual):
            return True
        tolerance = max(_TOLERANCE, _RANGES * self.usual) / 2
        is_near = min(_off(ratio, _FRACTIONS) for ratio in (self.opened, self.closed)) <= tolerance
        return is_near and self._is_value_kept

    @property
    def is_traded_away(self) -> bool:
        """Whether a multiple of the usual value was traded, as on the day of a crash."""
        return self.day_value is not None and self.day_value > _MOST_VALUE and self.closed < _LARGEST_JUMP

    @property
    def _is_value_kept(self) -> bool:
        """Whether the volume changed by the inverse ratio, so that the traded value is nearer to the old than to the new level's."""
        return self.lasting_value is not None and abs(math.log(self.lasting_value)) <= abs(math.log(self.closed)) / 2


def is_split(row: Sequence[float | None]) -> bool:
    """Whether a change of level is a split: the whole day lies at the new level, at a split's ratio to the close before, and no
    multiple of the usual value was traded.

    Common ratios (whole numbers, 5:4, 4:3, 3:2, 5:2, 5:3, 7:2, 9:2) may be a few per cent off. Other fractions with numerators up to
    12 and denominators up to 5 must be met by the open, or the volume must change by the inverse ratio.

    Args:
        row: `SPLIT_COLUMNS`; only the last two may be None.
    """
    before, opened, closed, high, low, usual = (float(value or 0) for value in row[:6])
    if math.log(high / low) >= 0.5 * abs(math.log(closed / before)):
        return False
    change = _Change(opened / before, closed / before, usual, *row[6:])
    return (change.is_common or change.is_fraction) and not change.is_traded_away


def _common(ratio: float) -> Floats:
    largest = _LARGEST_REVERSE_SPLIT if ratio > 1 else _LARGEST_SPLIT
    return _COMMON[largest >= _COMMON]


def _off(ratio: float, ratios: Floats) -> float:
    """The relative distance of a ratio, or of its inverse where it is a fall, from the nearest of `ratios`."""
    return float(np.abs(max(ratio, 1 / ratio) / ratios - 1).min())
