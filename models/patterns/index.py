"""The nearest of past patterns: exact, by one pass over all of them."""

import datetime as dt
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl

from models.patterns.shape import SHAPE
from tapewatch.market.arrays import Array

Floats = npt.NDArray[np.float32]

_BLOCK = 512


@dataclass(frozen=True)
class PatternIndex:
    """Patterns in order of the time at which they were known. `points` (patterns x 32) and `norms` are float32."""

    patterns: pl.DataFrame
    points: Floats
    norms: Floats
    known_ns: Array

    @classmethod
    def of(cls, patterns: pl.DataFrame) -> Self:
        """Index `ANOMALY_PATTERNS` rows."""
        ordered = patterns.sort("known_time", "pattern_id")
        points = np.ascontiguousarray(ordered.select(SHAPE).to_numpy(), dtype=np.float32).reshape(-1, len(SHAPE))
        return cls(
            ordered, points, np.einsum("ij,ij->i", points, points), ordered["known_time"].dt.epoch("ns").to_numpy()
        )

    def nearest(self, point: npt.ArrayLike, count: int = 5, *, before: dt.datetime | None = None) -> pl.DataFrame:
        """The rows of the nearest patterns with their `distance` (Euclidean), nearest first.

        Args:
            point: 32 numbers, as of `shape`.
            count: how many; fewer where there are not as many.
            before: only patterns that were known by then.
        """
        last = self.known_ns.size
        if before is not None:
            at = pl.Series([before]).cast(pl.Datetime("ns", "UTC")).dt.epoch("ns")[0]
            last = int(np.searchsorted(self.known_ns, at, side="right"))
        sought = np.asarray(point, dtype=np.float32)
        squared = self.points[:last] @ (-2 * sought)
        squared += self.norms[:last]
        count = min(count, last)
        chosen = _smallest(squared, count)
        # The difference of large numbers is inexact for near points: these few are measured directly.
        distance = np.linalg.norm(self.points[chosen].astype(np.float64) - sought, axis=1)
        order = np.lexsort((chosen, distance))
        return self.patterns[chosen[order]].with_columns(distance=pl.Series(distance[order], dtype=pl.Float64))


def _smallest(values: Floats, count: int) -> Array:
    """Positions of the `count` smallest values."""
    if not count:
        return np.empty(0, dtype=np.int64)
    blocks = values.size // _BLOCK
    if blocks <= count:
        return np.argpartition(values, count - 1)[:count]
    # So many blocks hold a value as small as their minimum: no value above the greatest of these minima can be among them.
    minima = values[: blocks * _BLOCK].reshape(blocks, _BLOCK).min(axis=1)
    candidates = np.flatnonzero(values <= np.partition(minima, count - 1)[count - 1])
    return candidates[np.argpartition(values[candidates], count - 1)[:count]]
