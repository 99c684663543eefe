"""Blocks of five minutes, the observations of the regimes."""

from functools import reduce

import numpy as np
import polars as pl

from tapewatch.features.cross_asset.panel import Panel, panel_of
from tapewatch.market.arrays import Array
from tapewatch.market.instruments import NS_PER_MINUTE, Session

#: Minutes of a block, and blocks of the window of a trend.
MINUTES, TREND_BLOCKS = 5, 12
#: Added to volatilities before their logs, so that a block without a move has one.
_FLOOR_BPS = 0.1


def block_panel(bars: pl.DataFrame, session: Session, *, through_ns: int) -> tuple[Panel, Array, Array]:
    """The panel of the bars, the log volatility of each block of 5 minutes, and its trend.

    Volatility is the root mean square of the block's minute returns, in bps. The trend is the return of an hour over the
    root of its summed squared returns: near 0 where moves cancel each other, ±√60 for a straight line. Both are
    blocks x symbols, NaN where a return is; blocks that end after `through_ns`, where the tape ends, are left out.
    """
    panel = panel_of(bars, session)
    whole = max(0, min(through_ns, session.regular_end) - session.regular_start) // NS_PER_MINUTE
    count = whole // MINUTES
    returns = panel.returns[: count * MINUTES].reshape(count, MINUTES, len(panel.symbols))
    # Added term by term: the rounding of a symbol's sums must not depend on how many symbols there are.
    squares, moves = (reduce(np.add, np.moveaxis(values, 1, 0)) for values in (returns**2, returns))
    volatility = np.log(np.sqrt(squares / MINUTES) + _FLOOR_BPS)
    trend = np.full(volatility.shape, np.nan)
    for block in range(TREND_BLOCKS - 1, count):
        hour = slice(block + 1 - TREND_BLOCKS, block + 1)
        length = np.sqrt(reduce(np.add, squares[hour]))
        move = reduce(np.add, moves[hour])
        trend[block] = np.divide(move, length, out=np.full(length.shape, np.nan), where=length > 0)
    return panel, volatility, trend
