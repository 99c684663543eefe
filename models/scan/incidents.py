"""From surprises to incidents: one alert for all that happens to a symbol at a time."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.scan.layout import KINDS, STATISTICS
from models.scan.learned import LOWEST, Additive, likeliest
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
#: Where no name was learnt: of several, those of the highest rank name it. A moving price widens spreads and brings quotes and trades, a drift comes with jumps,
#: not the other way round.
RANKS: Final = {
    "correlation_break": 3,
    "one_sided_flow": 1,
    "volume_spike": 0,
    "spread_blowout": 0,
    "quote_stuffing": 0,
}
_USUAL_RANK = 2
_KIND_OF = np.array([KINDS.index(kind) for kind in STATISTICS.values()])
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


#: A symbol's kinds (when each last opened, for how long it has been quiet, whether it may open) and its latest incident, with the greatest surprise of each kind and rarity of each statistic since it opened.
STATE = np.dtype(
    [
        *((name, np.int64, (len(KINDS),)) for name in ("opened", "quiet", "armed")),
        *((name, np.int64) for name in ("first", "last", "kind")),
        ("peak", np.float64),
        ("highest", np.float64, (len(KINDS),)),
        ("reached", np.float64, (len(STATISTICS),)),
    ]
)
#: What a bin does to a symbol's latest incident.
NOTHING, OPENED, GREW = 0, 1, 2


def fresh_states(symbols: int) -> Array:
    """States before a day's first bin."""
    states = np.zeros(symbols, dtype=STATE)
    states["opened"], states["armed"], states["last"] = -REARM, 1, -TOGETHER - 1
    return states


def incidents(
    surprises: Floats, threshold: float, rarities: Floats | None = None, names: Additive | None = None
) -> Incidents:
    """Incidents of a day, by symbol and first bin.

    Args:
        surprises: symbols x KINDS x bins.
        threshold: at which an incident opens.
        rarities: of statistics, symbols x STATISTICS x bins.
        names: what names an incident by them; by default the kinds' ranks do.
    """
    names = Additive.nothing() if names is None else names
    if rarities is None:
        rarities = np.full((len(surprises), len(STATISTICS), surprises.shape[2]), LOWEST)
    states = fresh_states(len(surprises))
    rows = [
        (symbol, *row)
        for symbol in range(len(surprises))
        for row in _of_symbol(
            surprises[symbol], rarities[symbol], threshold, names.weight, names.offset, states[symbol]
        )
    ]
    columns = list(zip(*rows, strict=True)) if rows else [()] * 5
    symbol, first, last, kind = (np.array(column, dtype=np.int64) for column in columns[:4])
    return Incidents(symbol, first, last, kind, np.array(columns[4], dtype=np.float64))


@njit(cache=True)
def _of_symbol(
    surprises: Floats, rarities: Floats, threshold: float, weight: Floats, offset: Floats, state: Any
) -> list[tuple[int, int, int, float]]:
    found = [(0, 0, 0, 0.0)]
    for at in range(surprises.shape[1]):
        done = observe(state, surprises[:, at], rarities[:, at], at, threshold, weight, offset)
        row = (state.first, state.last, state.kind, state.peak)
        if done == OPENED:
            found.append(row)
        elif done == GREW:
            found[-1] = row
    return found[1:]


@njit(cache=True)
def observe(
    state: Any, surprises: Floats, rarities: Floats, at: int, threshold: float, weight: Floats, offset: Floats
) -> int:
    """Judge one bin of a symbol; returns whether its latest incident opened or grew.

    Args:
        state: of the symbol, changed in place.
        surprises: by kind.
        rarities: by statistic.
        at: the bin.
        threshold: at which an incident opens.
        weight, offset: of what names an incident.
    """
    done = NOTHING
    _raise(state, surprises, rarities)
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
            state.reached[:] = LOWEST
            _raise(state, surprises, rarities)
            done = OPENED
        if state.armed[kind]:
            state.opened[kind] = at
            state.armed[kind] = 0
    if done != NOTHING:
        named = likeliest(state.reached, weight, offset)
        if named < 0 and np.isfinite(offset).any():
            # The surprise of a kind that was learnt holds what the others' statistics say: its own alone rank.
            named = name_of(_of_own(state.reached), threshold)
        elif named < 0:
            named = name_of(state.highest, threshold)
        state.kind = named
    return done


@njit(cache=True)
def _raise(state: Any, surprises: Floats, rarities: Floats) -> None:
    for kind in range(surprises.size):
        state.highest[kind] = max(state.highest[kind], surprises[kind])
    for statistic in range(rarities.size):
        state.reached[statistic] = max(state.reached[statistic], rarities[statistic])


@njit(cache=True)
def _of_own(reached: Floats) -> Floats:
    """The greatest rarity of each kind's own statistics."""
    own = np.full(_RANKS.size, LOWEST)
    for statistic in range(reached.size):
        kind = _KIND_OF[statistic]
        own[kind] = max(own[kind], reached[statistic])
    return own


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
