"""The scan of one market: what is usual for each symbol, and how rarely its statistics peak on ordinary days."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from models.base import DetectorError
from models.scan.calibration import Scale, Tail, fit_scale, fit_tail
from models.scan.kernel import scan_bins
from models.scan.layout import KINDS, STATISTICS, Usual, fresh_rings
from models.scan.profile import fit_usual
from tapewatch.market.arrays import Array

Floats = npt.NDArray[np.float64]
#: A two-minute move over a one-minute move, where nothing is taken off for peers.
_ALONE = np.sqrt(2.0)
_OF_KIND = {kind: [at for at, each in enumerate(STATISTICS.values()) if each == kind] for kind in KINDS}


@dataclass(frozen=True)
class MarketScan:
    """What is usual for `symbols`, in their order, and how rare deviations are."""

    symbols: tuple[str, ...]
    usual: Usual
    scales: tuple[Scale, ...]
    tails: tuple[Tail, ...]
    kind_tails: tuple[Tail, ...]

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
        kind_tails = [
            fit_tail(
                [row for day in range(len(days)) for row in _greatest([surprises[at][day] for at in _OF_KIND[kind]])]
            )
            for kind in KINDS
        ]
        return cls(tuple(symbols), fit_usual(days), tuple(scales), tuple(tails), tuple(kind_tails))

    def judged(self, inputs: Array) -> tuple[Floats, Floats]:
        """Surprise of each kind, and the value of each statistic, of a day from its first bin.

        Args:
            inputs: (symbols x INPUTS x bins) of `symbols`.

        Returns:
            symbols x KINDS x bins and symbols x STATISTICS x bins; NaN where one is not judged.
        """
        measured = statistics(inputs, self.usual)
        each = [
            tail.surprise(scale.deviation(measured[:, at]))
            for at, (scale, tail) in enumerate(zip(self.scales, self.tails, strict=True))
        ]
        kinds = [
            tail.surprise(_greatest([each[at] for at in _OF_KIND[kind]]))
            for kind, tail in zip(KINDS, self.kind_tails, strict=True)
        ]
        return np.stack(kinds, axis=1), measured

    def for_symbols(self, symbols: Sequence[str]) -> Self:
        """The scan for `symbols`; those that it was not fitted on are taken to be like the median symbol.

        Their usual levels are those of their own last half hour, and they have no peers.
        """
        at = {symbol: place for place, symbol in enumerate(self.symbols)}
        place = np.array([at.get(symbol, -1) for symbol in symbols], dtype=np.int64)
        return replace(
            self,
            symbols=tuple(symbols),
            usual=_usual_of(self.usual, place, len(self.symbols)),
            scales=tuple(
                Scale(_chosen(scale.median, place), _chosen(scale.width, place), scale.time_of_day)
                for scale in self.scales
            ),
        )


def _usual_of(usual: Usual, place: Array, known: int) -> Usual:
    """The rows of symbols at `place`, the median symbol's where that is -1; peers that are not chosen are dropped."""
    is_new = place < 0
    where = np.full(known + 1, -1, dtype=np.int64)
    where[place[~is_new]] = np.flatnonzero(~is_new)
    level = usual.level[place].copy()
    level[is_new] = -1.0
    weight, peer = usual.weight[place].copy(), where[usual.peer[place]]
    variants = usual.variants[place].copy()
    lost = (usual.peer[place] >= 0) & (peer < 0)
    # Without one of its peers, a residual would mix two levels of price.
    alone = is_new | lost.any(axis=1)
    weight[alone], peer[is_new], variants[alone] = 0.0, -1, 1
    residual_move = usual.residual_move[place].copy()
    residual_move[alone] = _ALONE
    return Usual(level, _chosen(usual.move, place), peer, weight, variants, residual_move)


def _chosen(rows: Array, place: Array) -> Array:
    """Rows at `place`, the median row where that is -1."""
    with_median = np.concatenate([rows, np.median(rows, axis=0, keepdims=True)])
    return np.asarray(with_median[place])


def statistics(inputs: Array, usual: Usual) -> Floats:
    """The statistics (symbols x STATISTICS x bins) of a day from its first bin."""
    symbols, _, bins = inputs.shape
    out = np.full((symbols, len(STATISTICS), bins), np.nan)
    scan_bins(inputs, 0, usual, fresh_rings(symbols), out)
    out[~np.isfinite(out)] = np.nan
    return out


def _greatest(values: Sequence[Floats]) -> Floats:
    """The greatest of several surprises where any is known."""
    return np.asarray(np.fmax.reduce(list(values)))
