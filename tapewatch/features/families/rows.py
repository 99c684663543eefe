"""Assembles `MICROSTRUCTURE_MORE` from a day's tape."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from tapewatch.features.families.liquidity import liquidity
from tapewatch.features.families.order_flow import order_flow
from tapewatch.features.families.paths import EWMA_RETURNS
from tapewatch.features.families.trade_sizes import trade_sizes
from tapewatch.features.families.volatility import volatility
from tapewatch.features.sums import MinuteSums, minute_sums
from tapewatch.market.arrays import Array
from tapewatch.market.conditions import STOCK_UPDATE_RULES, Updates
from tapewatch.market.instruments import NS_PER_MINUTE, Session
from tapewatch.market.tables.features import MICROSTRUCTURE_MORE
from tapewatch.market.tables.tape import TIME

#: Earlier rows that any feature depends on: the returns of the weighted volatility, and the price before the first of them.
LOOK_BACK = EWMA_RETURNS + 2
#: Values up to which the columns of a frame are converted at once: the calls take the time then, not the values.
_FEW_VALUES = 500_000


def microstructure_more(
    trades: pl.DataFrame,
    quotes: pl.DataFrame | None,
    session: Session,
    *,
    through_ns: int | None = None,
    symbols: Sequence[str] | None = None,
    rules: Mapping[int, Updates] = STOCK_UPDATE_RULES,
) -> pl.DataFrame:
    """`MICROSTRUCTURE_MORE` rows of whole symbols: for the minutes that `microstructure` has, from the same sums.

    Windows count minutes by the clock and do not cross the regular open or close. No row depends on anything at or after its
    `known_time`, nor on another symbol. Arguments and errors as in `microstructure`.
    """
    through = session.day_end if through_ns is None else through_ns
    sums = minute_sums(trades, quotes, session, rules, through_ns=through, symbols=symbols)
    return more_rows(sums, trade_sizes(trades, sums, rules))


def more_rows(sums: MinuteSums, sizes: Mapping[str, Array], wanted: Array | None = None) -> pl.DataFrame:
    """`MICROSTRUCTURE_MORE` rows of minutes already summed: of all, or of those marked in `wanted`.

    Where a symbol's earlier minutes are left out, only the first rows of each column's warm-up differ (`definitions.py`).

    Args:
        sums: the minutes.
        sizes: `trade_sizes` of the same minutes.
        wanted: bool, one a minute.
    """
    # What overflows becomes null.
    with np.errstate(over="ignore", invalid="ignore"):
        values = {**order_flow(sums), **sizes, **liquidity(sums), **volatility(sums)}
    start, symbol = sums["start"], sums.symbol
    if wanted is not None:
        rows = np.flatnonzero(wanted)
        start, symbol = start[rows], symbol[rows]
        values = {name: column[rows] for name, column in values.items()}
    keys = {
        "symbol": sums.names[symbol],
        "event_time": pl.Series(start).cast(TIME),
        "known_time": pl.Series(start + NS_PER_MINUTE).cast(TIME),
    }
    return MICROSTRUCTURE_MORE.conform(pl.DataFrame({**keys, **known(values)}))


def known(values: Mapping[str, Array]) -> dict[str, pl.Series]:
    """Columns, of one length, in which everything that is no finite number is null."""
    if not values:
        return {}
    height = len(next(iter(values.values())))
    if height * len(values) > _FEW_VALUES:
        return {name: _finite(column) for name, column in values.items()}
    whole = _finite(np.concatenate(list(values.values())))
    return {name: whole.slice(at * height, height).alias(name) for at, name in enumerate(values)}


def _finite(column: Array) -> pl.Series:
    return pl.Series(np.where(np.isfinite(column), column, np.nan), nan_to_null=True)
