"""The tail of ordinary peaks: how rarely they are as high. Apart from what fits it, which is compiled."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

#: By default a symbol's ordinary tape raises one alert in this number of hours. The ensemble's number is more than twice as large: the
#: scan is earlier, and names what it finds.
HOURS: Final = 2.5
#: Surprise 0 is one ordinary incident in 390 minutes.
HOURS_AT_ZERO: Final = 6.5
#: The rates of peaks, a day, whose heights are stored.
RATES: Final = (12.0, 8.0, 5.0, 3.0, 2.0)


def surprise_of(hours: float) -> float:
    """The surprise that a symbol's ordinary tape reaches once in `hours` hours."""
    return float(np.log10(hours / HOURS_AT_ZERO))


@dataclass(frozen=True)
class Tail:
    """The heights at which peaks occur 12, 8, 5, 3 and 2 times a day, and the mean excess beyond the last."""

    heights: Floats
    excess: float

    def surprise(self, values: Floats) -> Floats:
        """-log10 of the rate of peaks at least as high; 0 or less where ordinary, NaN for NaN."""
        known = -np.log10(np.array(RATES))
        inner = np.interp(values, self.heights, known)
        beyond = known[-1] + (values - self.heights[-1]) / (self.excess * np.log(10.0))
        return np.where(np.isnan(values), np.nan, np.where(values > self.heights[-1], beyond, inner))
