"""The scan as a detector: fitted on whole days of bins, it scores every five seconds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.base import DetectorError
from models.scan.calibration import Scale, Tail, fit_scale, fit_tail
from models.scan.kernel import scan_bins
from models.scan.layout import KINDS, STATISTICS, Usual, fresh_rings
from models.scan.profile import fit_usual
from tapewatch.market.arrays import Array

Floats = npt.NDArray[np.float64]
_OF_KIND = {kind: [at for at, each in enumerate(STATISTICS.values()) if each == kind] for kind in KINDS}


@dataclass(frozen=True)
class Scan:
    """What is usual, and how rare deviations are."""

    usual: Usual
    scales: tuple[Scale, ...]
    tails: tuple[Tail, ...]
    kind_tails: tuple[Tail, ...]

    @classmethod
    def fit(cls, days: Sequence[Array]) -> "Scan":
        """Fit on inputs (symbols x INPUTS x bins) of at least two days of the same symbols.

        Each day is held against what is usual on the others, as a day to come will be.

        Raises:
            DetectorError: fewer than two days.
        """
        if len(days) < 2:  # noqa: PLR2004 - each day is compared with the others
            raise DetectorError(f"the scan needs at least two whole days to learn what is usual, and has {len(days)}")
        measured = [statistics(day, fit_usual([*days[:at], *days[at + 1 :]])) for at, day in enumerate(days)]
        scales, tails = [], []
        surprises: list[list[Floats]] = [[] for _ in STATISTICS]
        for at in range(len(STATISTICS)):
            values = [day[:, at] for day in measured]
            deviations = [
                fit_scale([*values[:d], *values[d + 1 :]]).deviation(day) for d, day in enumerate(values)
            ]
            tail = fit_tail([row for day in deviations for row in day])
            surprises[at] = [tail.surprise(day) for day in deviations]
            scales.append(fit_scale(values))
            tails.append(tail)
        kind_tails = [
            fit_tail([row for day in range(len(days)) for row in _greatest([surprises[at][day] for at in _OF_KIND[kind]])])
            for kind in KINDS
        ]
        return cls(fit_usual(days), tuple(scales), tuple(tails), tuple(kind_tails))

    def surprises(self, inputs: Array) -> Floats:
        """Surprise of each kind (symbols x KINDS x bins) of a day from its first bin; NaN where a kind is not judged."""
        measured = statistics(inputs, self.usual)
        each = [
            tail.surprise(scale.deviation(measured[:, at]))
            for at, (scale, tail) in enumerate(zip(self.scales, self.tails, strict=True))
        ]
        return np.stack(
            [
                tail.surprise(_greatest([each[at] for at in _OF_KIND[kind]]))
                for kind, tail in zip(KINDS, self.kind_tails, strict=True)
            ],
            axis=1,
        )


def statistics(inputs: Array, usual: Usual) -> Floats:
    """The statistics (symbols x STATISTICS x bins) of a day from its first bin."""
    symbols, _, bins = inputs.shape
    out = np.full((symbols, len(STATISTICS), bins), np.nan)
    scan_bins(inputs, 0, usual, fresh_rings(symbols), out)
    out[~np.isfinite(out)] = np.nan
    return out


def _greatest(values: Sequence[Floats]) -> Floats:
    """The greatest of several surprises where any is known."""
    return np.fmax.reduce(list(values))
