"""What the statistics say together, as sums over statistics that anomalies put into copies of training days have taught."""

from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from models.scan.layout import KINDS, STATISTICS
from models.scan.series import compiled
from models.scan.tail import RATES, Tail

Floats = npt.NDArray[np.float64]

#: The rarity of what is missing, the lowest there is; and beyond which a statistic says no more.
LOWEST: Final = -float(np.log10(RATES[0]))
HIGHEST: Final = 4.0
#: Where the line of a statistic's part may bend.
BENDS: Final = (LOWEST, -0.3, 0.5, 1.5)
#: A name needs to be likelier than all others together.
_LIKELY: Final = 0.5


@dataclass(frozen=True)
class Additive:
    """A score for each kind: `offset` plus, for each statistic, a line of its rarity that bends at `BENDS`.

    `weight` (KINDS x STATISTICS x BENDS): how much steeper the line is from each bend on. `offset` (KINDS): -inf for kinds that were not
    learnt.
    """

    weight: Floats
    offset: Floats

    @classmethod
    def nothing(cls) -> Self:
        """That of a scan which learnt no kind."""
        return cls(np.zeros((len(KINDS), len(STATISTICS), len(BENDS))), np.full(len(KINDS), -np.inf))

    @property
    def kinds(self) -> list[int]:
        """Positions of the kinds that were learnt."""
        return [int(at) for at in np.flatnonzero(np.isfinite(self.offset))]

    def scores(self, rarities: Floats) -> Floats:
        """Of rarities (symbols x STATISTICS x bins): symbols x KINDS x bins."""
        out = np.empty((rarities.shape[0], len(KINDS), rarities.shape[2]))
        _fill(rarities, self.weight, self.offset, out)
        return out


@dataclass(frozen=True)
class Learned:
    """Log odds of each kind against ordinary tape, how rarely ordinary days reach them, and what names an incident.

    `odds` are of a bin's rarities, `names` of the highest that each statistic reached within an incident.
    """

    odds: Additive
    tails: tuple[Tail, ...]
    names: Additive

    def surprise(self, rarities: Floats) -> Floats:
        """Surprise of each kind (symbols x KINDS x bins) by its log odds; NaN of kinds that were not learnt, and where nothing is judged."""
        scores = self.odds.scores(rarities)
        found = np.full(scores.shape, np.nan)
        for kind in self.odds.kinds:
            found[:, kind] = self.tails[kind].surprise(scores[:, kind])
        found.transpose(0, 2, 1)[np.isnan(rarities).all(axis=1)] = np.nan
        return found


def bent(rarities: Floats) -> Floats:
    """Rows x STATISTICS of rarities as rows x (STATISTICS x BENDS), which the weights multiply."""
    known = np.clip(np.nan_to_num(rarities, nan=LOWEST), LOWEST, HIGHEST)
    return np.asarray(np.maximum(known[:, :, None] - np.array(BENDS), 0.0).reshape(len(rarities), -1))


@compiled
def _fill(rarities: Any, weight: Any, offset: Any, out: Any) -> None:
    for symbol in range(out.shape[0]):
        for at in range(out.shape[2]):
            add_up(rarities[symbol, :, at], weight, offset, out[symbol, :, at])


@compiled
def add_up(rarities: Any, weight: Any, offset: Any, out: Any) -> None:
    """Fill `out` (KINDS) from the rarity of each statistic: the same sums in the same order for a bin and for a day."""
    out[:] = offset
    for statistic in range(rarities.size):
        value = rarities[statistic]
        value = LOWEST if np.isnan(value) else min(max(value, LOWEST), HIGHEST)
        for bend in range(weight.shape[2]):
            beyond = value - BENDS[bend]
            if beyond <= 0.0:
                break
            for kind in range(out.size):
                out[kind] += weight[kind, statistic, bend] * beyond


@compiled
def likeliest(rarities: Any, weight: Any, offset: Any) -> int:
    """The kind that is likelier than all others together; -1 where none is, or none was learnt."""
    scores = np.empty(offset.size)
    add_up(rarities, weight, offset, scores)
    best = int(np.argmax(scores))
    if scores[best] == -np.inf:
        return -1
    total = 0.0
    for kind in range(scores.size):
        total += np.exp(scores[kind] - scores[best])
    return best if total * _LIKELY < 1.0 else -1
