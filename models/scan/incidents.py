"""From surprises to incidents: one alert for all that happens to a symbol at a time."""

from dataclasses import dataclass
from typing import Any, Final

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
#: A kind may name an incident if its surprise within it comes this near to the threshold.
_NEAR = 0.5
#: Of several, those of the highest rank name it. A moving price widens spreads and brings quotes and trades, a drift comes with jumps,
#: not the other way round.
RANKS: Final = {
    "correlation_break": 3,
    "one_sided_flow": 1,
    "volume_spike": 0,
    "spread_blowout": 0,
    "quote_stuffing": 0,
}
_USUAL_RANK = 2
_RANKS = np.array([RANKS.get(kind, _USUAL_RANK) for kind in KINDS])


@dataclass(frozen=True)
class Incidents:
    """Incidents of a day: symbol, first and last bin at or above the threshold, its kind, and its greatest surprise."""

    symbol: Integers
    first: Integers
    last: Integers
    kind: Integers
    surprise: Floats

    def spans(self) -> list[tuple[int, int, int]]:
        """Symbol, first and last bin of each."""
        return [(int(s), int(f), int(e)) for s, f, e in zip(self.symbol, self.first, self.last, strict=True)]


#: A symbol's kinds (when each last opened, for how long it has been quiet, whether it may open) and its latest incident, with each kind's greatest surprise since it opened.
STATE = np.dtype(
    [
        *((name, np.int64, (len(KINDS),)) for name in ("opened", "quiet", "armed")),
        *((name, np.int64) for name in ("first", "last", "kind")),
        ("peak", np.float64),
        ("highest", np.float64, (len(KINDS),)),
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
    _raise(state, surprises)
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
            state.peak = max(state.peak, value)
            if done == NOTHING:
                done = GREW
        elif state.armed[kind]:
            state.first = state.last = at
            state.peak = value
            state.highest[:] = -np.inf
            _raise(state, surprises)
            done = OPENED
        if state.armed[kind]:
            state.opened[kind] = at
            state.armed[kind] = 0
    if done != NOTHING:
        state.kind = name_of(state.highest, threshold)
    return done


@njit(cache=True)
def _raise(state: Any, surprises: Floats) -> None:
    for kind in range(surprises.size):
        state.highest[kind] = max(state.highest[kind], surprises[kind])


@njit(cache=True)
def name_of(highest: Floats, threshold: float) -> int:
    """The kind that names an incident whose kinds reached `highest`: of the highest rank near the threshold, the most surprising."""
    best = int(np.argmax(highest))
    for kind in range(highest.size):
        if highest[kind] < threshold - _NEAR:
            continue
        rank = _RANKS[kind] - _RANKS[best]
        if rank > 0 or (rank == 0 and highest[kind] > highest[best]):
            best = kind
    return best
