"""The scan of one market: what is usual for each symbol, and how rarely its statistics peak on ordinary days."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from models.scan.calibration import Scale
from models.scan.kernel import scan_bins
from models.scan.layout import KINDS, PEERS, STATISTICS, VARIANTS, Usual, fresh_rings
from models.scan.learned import Additive, Learned
from models.scan.tail import Tail
from tapewatch.market.arrays import Array

Floats = npt.NDArray[np.float64]
_OF_KIND = {kind: [at for at, each in enumerate(STATISTICS.values()) if each == kind] for kind in KINDS}


class Judged(NamedTuple):
    """How rare the bins of some symbols are: `kinds` (symbols x KINDS x bins) and `statistics` (symbols x STATISTICS x bins).

    Both are minus the log of how many peaks as high a symbol has in 390 minutes: of all kinds together, and of each statistic by
    itself. NaN where one is not judged.
    """

    kinds: Floats
    statistics: Floats


@dataclass(frozen=True)
class MarketScan:
    """What is usual for `symbols`, in their order, how rare deviations are, and what was learnt of anomalies, if it was shown any."""

    symbols: tuple[str, ...]
    usual: Usual
    scales: tuple[Scale, ...]
    tails: tuple[Tail, ...]
    kind_tails: tuple[Tail, ...]
    whole: Tail
    learned: Learned | None = None

    @property
    def names(self) -> Additive:
        """What names an incident; of a scan that was shown no anomalies, nothing does."""
        return Additive.nothing() if self.learned is None else self.learned.names

    def judged(self, inputs: Array) -> tuple[Judged, Floats]:
        """How rare a day is from its first bin, and the value of each statistic.

        Args:
            inputs: (symbols x INPUTS x bins) of `symbols`.

        Returns:
            of the symbols that have scales; the values are symbols x STATISTICS x bins, NaN where one is not judged.
        """
        measured = statistics(inputs, self.usual, len(self.scales[0].median))
        return self.surprises(measured, 0), measured

    def surprises(self, measured: Floats, first: int) -> Judged:
        """How rare statistics (symbols x STATISTICS x bins) from bin `first` of a day are."""
        each = [
            tail.surprise(scale.deviation(measured[:, at], first))
            for at, (scale, tail) in enumerate(zip(self.scales, self.tails, strict=True))
        ]
        rarities = np.stack(each, axis=1)
        kinds = np.stack(
            [tail.surprise(highest_of_kind(rarities, kind)) for kind, tail in zip(KINDS, self.kind_tails, strict=True)],
            axis=1,
        )
        if self.learned is not None:
            kinds = np.fmax(kinds, self.learned.surprise(rarities))
        return Judged(self.whole.surprise(kinds), rarities)

    def for_symbols(self, symbols: Sequence[str]) -> Self:
        """The scan for its own symbols and the others of `symbols` behind them.

        A symbol that it was not fitted on is taken to be like the median symbol, at the level of its own last half hour, and
        has no peers.
        """
        known = set(self.symbols)
        new = [symbol for symbol in dict.fromkeys(symbols) if symbol not in known]
        place = np.append(np.arange(len(self.symbols)), np.full(len(new), -1))
        usual = self.usual
        return replace(
            self,
            symbols=(*self.symbols, *new),
            usual=Usual(
                level=np.concatenate([usual.level, np.full((len(new), *usual.level.shape[1:]), -1.0)]),
                move=_chosen(usual.move, place),
                peer=np.concatenate([usual.peer, np.full((len(new), PEERS), -1)]),
                weight=np.concatenate([usual.weight, np.zeros((len(new), VARIANTS, PEERS))]),
                variants=np.append(usual.variants, np.zeros(len(new), dtype=np.int64)),
                residual_move=_chosen(usual.residual_move, place),
            ),
            scales=tuple(
                Scale(_chosen(scale.median, place), _chosen(scale.width, place), scale.time_of_day)
                for scale in self.scales
            ),
        )

    def of_symbol(self, symbol: str) -> Self:
        """The scan that judges one symbol alone, as this one does: `symbols` are that symbol and, behind it, its peers.

        A symbol is held against prices and ratios of its peers, which depend on no other symbol.
        """
        whole = self.for_symbols([symbol])
        usual, own = whole.usual, whole.symbols.index(symbol)
        slots = usual.peer[own]
        place = np.array([own, *slots[slots >= 0]])
        peer = np.full((1, PEERS), -1)
        peer[0, slots >= 0] = np.arange(1, place.size)
        alone = slice(own, own + 1)
        return replace(
            whole,
            symbols=tuple(whole.symbols[at] for at in place),
            usual=Usual(
                level=usual.level[place],
                move=usual.move[place],
                peer=peer,
                weight=usual.weight[alone],
                variants=usual.variants[alone],
                residual_move=usual.residual_move[alone],
            ),
            scales=tuple(Scale(each.median[alone], each.width[alone], each.time_of_day) for each in whole.scales),
        )


def _chosen(rows: Array, place: Array) -> Array:
    """Rows at `place`, the median row where that is -1."""
    with_median = np.concatenate([rows, np.median(rows, axis=0, keepdims=True)])
    return np.asarray(with_median[place])


def statistics(inputs: Array, usual: Usual, count: int | None = None) -> Floats:
    """The statistics (symbols x STATISTICS x bins) of a day from its first bin; of the first `count` symbols alone, if given."""
    symbols, _, bins = inputs.shape
    out = np.full((symbols if count is None else count, len(STATISTICS), bins), np.nan)
    scan_bins(inputs, 0, 0, usual, fresh_rings(symbols), out)
    out[~np.isfinite(out)] = np.nan
    return out


def highest_of_kind(rarities: Floats, kind: str) -> Floats:
    """The greatest of a kind's statistics (symbols x bins), where any is known."""
    return np.asarray(np.fmax.reduce([rarities[:, at] for at in _OF_KIND[kind]]))
