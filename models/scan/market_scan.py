"""The scan of one market: what is usual for each symbol, and how rarely its statistics peak on ordinary days."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from models.base import DetectorError
from models.scan.calibration import Scale, fit_scale, fit_tail
from models.scan.kernel import scan_bins
from models.scan.layout import KINDS, PEERS, STATISTICS, VARIANTS, Usual, fresh_rings
from models.scan.profile import fit_usual
from models.scan.tail import Tail
from tapewatch.market.arrays import Array

Floats = npt.NDArray[np.float64]
_OF_KIND = {kind: [at for at, each in enumerate(STATISTICS.values()) if each == kind] for kind in KINDS}


@dataclass(frozen=True)
class MarketScan:
    """What is usual for `symbols`, in their order, and how rare deviations are."""

    symbols: tuple[str, ...]
    usual: Usual
    scales: tuple[Scale, ...]
    tails: tuple[Tail, ...]
    kind_tails: tuple[Tail, ...]
    whole: Tail

    @classmethod
    def fit(cls, symbols: Sequence[str], days: Sequence[Array], known: Sequence[Array]) -> Self:
        """Fit on inputs (symbols x INPUTS x bins) of at least two days of the same symbols.

        Each day is held against what is usual on the others, as a day to come will be.

        Args:
            symbols: names of the inputs' symbols.
            days: the inputs.
            known: for each day, the bins (symbols x bins) of known anomalies, which are not ordinary.

        Raises:
            DetectorError: fewer than two days.
        """
        if len(days) < 2:
            raise DetectorError(f"the scan needs at least two whole days to learn what is usual, and has {len(days)}")
        measured = [statistics(day, fit_usual([*days[:at], *days[at + 1 :]])) for at, day in enumerate(days)]
        for day, marked in zip(measured, known, strict=True):
            day.transpose(0, 2, 1)[marked] = np.nan
        scales, tails = [], []
        surprises: list[list[Floats]] = [[] for _ in STATISTICS]
        for at in range(len(STATISTICS)):
            values = [day[:, at] for day in measured]
            deviations = [fit_scale([*values[:d], *values[d + 1 :]]).deviation(day) for d, day in enumerate(values)]
            tail = fit_tail([row for day in deviations for row in day])
            surprises[at] = [tail.surprise(day) for day in deviations]
            scales.append(fit_scale(values))
            tails.append(tail)
        kind_tails, of_kinds = [], []
        for kind in KINDS:
            own = [_greatest([surprises[at][day] for at in _OF_KIND[kind]]) for day in range(len(days))]
            kind_tails.append(fit_tail([row for day in own for row in day]))
            of_kinds.append([kind_tails[-1].surprise(day) for day in own])
        # Kinds that occur together are one alert: their budgets do not add up.
        highest = [_greatest([own[day] for own in of_kinds]) for day in range(len(days))]
        whole = fit_tail([row for day in highest for row in day])
        return cls(tuple(symbols), fit_usual(days), tuple(scales), tuple(tails), tuple(kind_tails), whole)

    def judged(self, inputs: Array) -> tuple[Floats, Floats]:
        """Surprise of each kind, and the value of each statistic, of a day from its first bin.

        Args:
            inputs: (symbols x INPUTS x bins) of `symbols`.

        Returns:
            symbols x KINDS x bins and symbols x STATISTICS x bins of the symbols that have scales; NaN where one is not judged.
        """
        measured = statistics(inputs, self.usual, len(self.scales[0].median))
        return self.surprises(measured, 0), measured

    def surprises(self, measured: Floats, first: int) -> Floats:
        """Surprise of each kind (symbols x KINDS x bins) of statistics from bin `first` of a day.

        It is on the scale of all kinds together: minus the log of how many incidents as surprising a symbol has in 390 minutes.
        """
        each = [
            tail.surprise(scale.deviation(measured[:, at], first))
            for at, (scale, tail) in enumerate(zip(self.scales, self.tails, strict=True))
        ]
        kinds = [
            tail.surprise(_greatest([each[at] for at in _OF_KIND[kind]]))
            for kind, tail in zip(KINDS, self.kind_tails, strict=True)
        ]
        return self.whole.surprise(np.stack(kinds, axis=1))

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


def _greatest(values: Sequence[Floats]) -> Floats:
    """The greatest of several surprises where any is known."""
    return np.asarray(np.fmax.reduce(list(values)))
