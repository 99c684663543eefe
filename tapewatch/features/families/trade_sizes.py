"""Quantiles of the sizes of each minute's trades. They need the trades themselves, since quantiles do not add up."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from tapewatch.features.sums import MinuteSums
from tapewatch.features.ticks import VOLUME, compiled
from tapewatch.market.arrays import EXTENDED_SHIFT, Array, FlatTrades, SessionBounds, flat_trades, session_bounds
from tapewatch.market.conditions import Updates
from tapewatch.market.instruments import NS_PER_MINUTE

_NAMES = ("trade_size_median", "trade_size_p90", "largest_trade_share")


def trade_sizes(trades: pl.DataFrame, sums: MinuteSums, rules: Mapping[int, Updates]) -> dict[str, Array]:
    """Median and 90 % quantile of the sizes of each minute's trades, and the largest one's share of their volume.

    Quantiles lie between two sizes where needed (Hyndman and Fan 1996, type 7). Trades that enter no volume are left out.
    NaN in a minute without trades; the share also where their volume is 0.

    Args:
        trades: the `TRADES` rows from which `sums` were made.
        sums: the minutes.
        rules: condition code to allowed fields, for stocks.
    """
    symbols, flat = flat_trades(trades, sums.session, rules)
    sizes = np.full((len(_NAMES), sums.symbol.size), np.nan)
    own = {name: at for at, name in enumerate(symbols)}
    first_rows = np.searchsorted(sums.symbol, np.arange(len(sums.names) + 1))
    starts, hours = sums["start"], session_bounds(sums.session)
    for at, name in enumerate(sums.names.cast(pl.String)):
        run = own.get(name)
        if run is not None:
            rows = slice(first_rows[at], first_rows[at + 1])
            _measure(flat, flat.offsets[run], flat.offsets[run + 1], starts[rows], hours, sizes[:, rows])
    return dict(zip(_NAMES, sizes, strict=True))


@compiled
def _measure(trades: FlatTrades, first: int, end: int, starts: Array, hours: SessionBounds, out: Array) -> None:
    """Fill `out` for the minutes at `starts` from one symbol's trades, rows `first` to `end`."""
    room = np.empty(end - first)
    row = first
    for minute in range(starts.size):
        start = starts[minute]
        shift = 0 if hours.regular_start <= start < hours.regular_end else EXTENDED_SHIFT
        while row < end and trades.time[row] < start:
            row += 1
        count = 0
        while row < end and trades.time[row] < start + NS_PER_MINUTE:
            is_withdrawn = trades.withdrawn.size > 0 and trades.withdrawn[row]
            if not is_withdrawn and (trades.traits[trades.condition[row]] >> shift) & VOLUME:
                room[count] = trades.size[row]
                count += 1
            row += 1
        if count == 0:
            continue
        ordered = np.sort(room[:count])
        out[0, minute], out[1, minute] = _quantile(ordered, 0.5), _quantile(ordered, 0.9)
        total = ordered.sum()
        if total > 0.0:
            out[2, minute] = ordered[-1] / total


@compiled
def _quantile(ordered: Array, level: float) -> float:
    place = level * (ordered.size - 1)
    below = int(place)
    above = min(below + 1, ordered.size - 1)
    return float(ordered[below] + (place - below) * (ordered[above] - ordered[below]))
