"""`CORRELATIONS` rows of a market's minute bars: the matrix of correlations, every five minutes."""

from typing import Final

import numpy as np
import polars as pl

from tapewatch.features.cross_asset.panel import Panel, panel_of
from tapewatch.features.cross_asset.windows import moments
from tapewatch.features.families.rows import known
from tapewatch.market.arrays import Array
from tapewatch.market.compiled import njit
from tapewatch.market.instruments import NS_PER_MINUTE, Session
from tapewatch.market.tables.features import CORRELATION_MINUTES, CORRELATIONS
from tapewatch.market.tables.tape import SYMBOL, TIME

#: Minutes between two matrices, and the symbols of a matrix at most: those of a larger market that moved in most minutes.
STEP: Final = 5
MOST_SYMBOLS: Final = 100
LOOK_BACK: Final = max(CORRELATION_MINUTES) + 1

compiled = njit(cache=True, nogil=True, error_model="numpy")


def correlations(
    bars: pl.DataFrame, session: Session, *, since_ns: int | None = None, through_ns: int | None = None
) -> pl.DataFrame:
    """`CORRELATIONS` rows of a market's minute bars, for every five minutes of regular hours with a bar of the market.

    A minute without a bar leaves the price as it was; a close that is not above zero counts as no bar. A matrix holds the
    symbols whose price moved within the longest window. A value is null until its window is full and where one of the two
    does not vary in it. A row is known when all bars of the market in the longest window are.

    Args:
        bars: all bars of the market's day, with the columns symbol, time, known_time and close of `BARS`.
        session: the day they belong to.
        since_ns, through_ns: matrices whose last minute starts earlier, or ends later, are left out (ns UTC); None for the whole
            day.
    """
    panel = panel_of(bars, session)
    ends = np.unique(panel.minute // STEP) * STEP + STEP - 1
    first = 0 if since_ns is None else (since_ns - session.regular_start) // NS_PER_MINUTE
    last = session.regular_minutes if through_ns is None else (through_ns - session.regular_start) // NS_PER_MINUTE
    ends = ends[(ends >= first) & (ends < min(last, panel.returns.shape[0]))]
    matrices = [_matrix(panel, int(end)) for end in ends]
    if not matrices:
        return CORRELATIONS.empty()
    one, two, values = (np.concatenate(part, axis=-1) for part in zip(*matrices, strict=True))
    end = np.repeat(ends, [pairs[0].size for pairs in matrices])
    start = session.regular_start + end * NS_PER_MINUTE
    names = pl.Series(panel.symbols, dtype=SYMBOL)
    rows = pl.DataFrame({"symbol": names[one], "other": names[two], "event_time": pl.Series(start).cast(TIME)})
    known_time = pl.Series(np.maximum(start + NS_PER_MINUTE, panel.known_by(LOOK_BACK)[end])).cast(TIME)
    columns = {f"correlation_{width}m": column for width, column in zip(CORRELATION_MINUTES, values, strict=True)}
    # Symbols of the panel are in order.
    order = np.lexsort((end, two, one))
    return CORRELATIONS.conform(rows.with_columns(known_time=known_time, **known(columns))[order])


def _matrix(panel: Panel, end: int) -> tuple[Array, Array, Array]:
    """The places of both symbols of each pair, and their correlations by width, of the windows whose last minute is `end`."""
    within = panel.returns[max(end - max(CORRELATION_MINUTES) + 1, 0) : end + 1]
    moved = (np.nan_to_num(within) != 0).sum(axis=0)
    # The first in order of symbols where several moved in as many minutes.
    symbols = np.sort(np.argsort(-moved, kind="stable")[: min(MOST_SYMBOLS, int((moved > 0).sum()))])
    taken = np.ascontiguousarray(within[:, symbols])
    one, two = np.nonzero(~np.eye(symbols.size, dtype=np.bool_))
    values = np.stack([_pairwise(taken, width)[one, two] for width in CORRELATION_MINUTES])
    return symbols[one], symbols[two], values


@compiled
def _pairwise(returns: Array, width: int) -> Array:
    """Pearson's correlations of the last `width` rows, symbols x symbols; NaN without as many, with a NaN, or without variation."""
    rows, size = returns.shape
    out = np.full((size, size), np.nan)
    if rows < width:
        return out
    columns = np.empty((width, 1))
    others = np.empty((width, 1))
    for one in range(size):
        columns[:, 0] = returns[rows - width :, one]
        for two in range(one + 1, size):
            others[:, 0] = returns[rows - width :, two]
            xx, yy, xy = moments(columns, others, 0, width, 0)
            if xx > 0.0 and yy > 0.0:
                out[one, two] = out[two, one] = min(max(xy / np.sqrt(xx * yy), -1.0), 1.0)
    return out
