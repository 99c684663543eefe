"""Log prices of several symbols on one grid of minutes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.market.instruments import NS_PER_MINUTE

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Closes:
    """Log prices, minutes x symbols, carried on through silent minutes; NaN before a symbol's first.

    `known_ns` are the ends of the minutes, ascending and a minute apart.
    """

    symbols: tuple[str, ...]
    known_ns: npt.NDArray[np.int64]
    logs: Floats

    @property
    def returns(self) -> Floats:
        """One-minute log returns, minutes x symbols; NaN in the first minute and before a symbol's first price."""
        return np.vstack([np.full((1, len(self.symbols)), np.nan), np.diff(self.logs, axis=0)])


def closes(minutes: pl.DataFrame) -> Closes:
    """The prices of `context` rows of one session; prices of zero or below are left out."""
    kept = minutes.filter(pl.col("price") > 0)
    if kept.is_empty():
        return Closes((), np.empty(0, dtype=np.int64), np.empty((0, 0)))
    known = kept["known_time"].dt.epoch("ns").to_numpy()
    grid = np.arange(known.min(), known.max() + 1, NS_PER_MINUTE)
    symbols = tuple(sorted(kept["symbol"].unique()))
    logs = np.full((grid.size, len(symbols)), np.nan)
    columns = kept["symbol"].replace_strict({name: at for at, name in enumerate(symbols)}, return_dtype=pl.Int64)
    logs[(known - grid[0]) // NS_PER_MINUTE, columns.to_numpy()] = np.log(kept["price"].to_numpy())
    return Closes(symbols, grid, _carried(logs))


def _carried(logs: Floats) -> Floats:
    seen = np.where(np.isnan(logs), -1, np.arange(len(logs))[:, None])
    last = np.maximum.accumulate(seen, axis=0)
    return np.where(last >= 0, np.take_along_axis(logs, np.maximum(last, 0), axis=0), np.nan)
