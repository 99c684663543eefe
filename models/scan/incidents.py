"""From surprises to incidents: one alert for all that happens to a symbol at a time."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.scan.layout import KINDS
from tapewatch.market.arrays import Array
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


#: A symbol's kinds (when each last opened, for how long it has been quiet, whether it may open) and its latest incident.
STATE = np.dtype(
    [
        *((name, np.int64, (len(KINDS),)) for name in ("opened", "quiet", "armed")),
        *((name, np.int64) for name in ("first", "last", "kind")),
        ("peak", np.float64),
    ]
)
#: What a bin does to a symbol's latest incident.
NOTHING, OPENED, GREW = 0, 1, 2


def fresh_states(symbols: int) -> Array:
    """States before a day's first bin."""
    states = np.zeros(symbols, dtype=STATE)
    states["opened"], states["armed"], states["last"] = -REARM, 1, -TOGETHER - 1
    return states


def incidents(surprises: Floats, threshold: float) -> Incidents:
    """Incidents in surprises (symbols x KINDS x bins) of a day, by symbol and first bin."""
    states = fresh_states(len(surprises))
    rows = [
        (symbol, *row)
        for symbol in range(len(surprises))
        for row in _of_symbol(surprises[symbol], threshold, states[symbol])
    ]
    columns = list(zip(*rows, strict=True)) if rows else [()] * 5
    symbol, first, last, kind = (np.array(column, dtype=np.int64) for column in columns[:4])
    return Incidents(symbol, first, last, kind, np.array(columns[4], dtype=np.float64))


@njit(cache=True)
def _of_symbol(surprises: Floats, threshold: float, state: Any) -> list[tuple[int, int, int, float]]:
    found = [(0, 0, 0, 0.0)]
    for at in range(surprises.shape[1]):
        done = observe(state, surprises[:, at], at, threshold)
        row = (state.first, state.last, state.kind, state.peak)
        if done == OPENED:
            found.append(row)
        elif done == GREW:
            found[-1] = row
    return found[1:]


@njit(cache=True)
def observe(state: Any, surprises: Floats, at: int, threshold: float) -> int:
    """Judge one bin of a symbol; returns whether its latest incident opened or grew."""
    done = NOTHING
    for kind in range(surprises.size):
        value = surprises[kind]
        if np.isnan(value):
            continue
        state.quiet[kind] = state.quiet[kind] + 1 if value < threshold - _BELOW else 0
        if state.quiet[kind] >= QUIET and at - state.opened[kind] >= REARM:
            state.armed[kind] = 1
        if value < threshold:
            continue
        if at - state.last <= TOGETHER:
            state.last = at
            if value > state.peak:
                state.peak, state.kind = value, kind
            if done == NOTHING:
                done = GREW
        elif state.armed[kind]:
            state.first = state.last = at
            state.kind, state.peak = kind, value
            done = OPENED
        if state.armed[kind]:
            state.opened[kind] = at
            state.armed[kind] = 0
    return done
