"""From surprises to incidents: one alert for all that happens to a symbol at a time."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tapewatch.market.compiled import njit

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

#: A kind is armed again when this many bins have passed since it opened, and its surprise has been low for so many.
REARM, QUIET = 120, 24
#: Kinds that open within so many bins of each other are one incident.
TOGETHER = 120
_BELOW = 0.2


@dataclass(frozen=True)
class Incidents:
    """Incidents of a day: symbol, first and last bin at or above the threshold, kind of the peak, and its surprise."""

    symbol: Integers
    first: Integers
    last: Integers
    kind: Integers
    surprise: Floats

    def spans(self) -> list[tuple[int, int, int]]:
        """Symbol, first and last bin of each."""
        return [(int(s), int(f), int(e)) for s, f, e in zip(self.symbol, self.first, self.last, strict=True)]


def incidents(surprises: Floats, threshold: float) -> Incidents:
    """Incidents in surprises (symbols x KINDS x bins) of a day, by symbol and first bin."""
    rows = [(symbol, *row) for symbol in range(len(surprises)) for row in _of_symbol(surprises[symbol], threshold)]
    columns = list(zip(*rows, strict=True)) if rows else [()] * 5
    symbol, first, last, kind = (np.array(column, dtype=np.int64) for column in columns[:4])
    return Incidents(symbol, first, last, kind, np.array(columns[4], dtype=np.float64))


@njit(cache=True)
def _of_symbol(surprises: Floats, threshold: float) -> list[tuple[int, int, int, float]]:
    kinds, bins = surprises.shape
    opened = np.full(kinds, -REARM)
    quiet = np.zeros(kinds, dtype=np.int64)
    is_armed = np.ones(kinds, dtype=np.bool_)
    found = [(0, 0, 0, 0.0)]
    for at in range(bins):
        for kind in range(kinds):
            value = surprises[kind, at]
            if np.isnan(value):
                continue
            quiet[kind] = quiet[kind] + 1 if value < threshold - _BELOW else 0
            is_armed[kind] |= quiet[kind] >= QUIET and at - opened[kind] >= REARM
            if value < threshold:
                continue
            first, last, name, peak = found[-1]
            if len(found) > 1 and at - last <= TOGETHER:
                found[-1] = (first, at, kind if value > peak else name, max(peak, value))
            elif is_armed[kind]:
                found.append((at, at, kind, value))
            if is_armed[kind]:
                opened[kind] = at
                is_armed[kind] = False
    return found[1:]
