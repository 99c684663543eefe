"""Quantiles of the sizes of each minute's trades. They need the trades themselves, since quantiles do not add up."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl

from tapewatch.features.sums import MinuteSums
from tapewatch.features.ticks import VOLUME, compiled
from tapewatch.market.arrays import EXTENDED_SHIFT, Array, FlatTrades, SessionBounds, flat_trades, session_bounds
from tapewatch.market.conditions import Updates
from tapewatch.market.instruments import NS_PER_MINUTE

NAMES = ("trade_size_median", "trade_size_p90", "largest_trade_share")


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
    sizes = np.full((len(NAMES), sums.symbol.size), np.nan)
    own = {name: at for at, name in enumerate(symbols)}
    first_rows = np.searchsorted(sums.symbol, np.arange(len(sums.names) + 1))
    starts, hours = sums["start"], session_bounds(sums.session)

    def measure(at: int, name: str) -> None:
        run, rows = own.get(name), slice(first_rows[at], first_rows[at + 1])
        if run is not None:
            _measure(flat, flat.offsets[run], flat.offsets[run + 1], starts[rows], hours, sizes[:, rows])

    names = sums.names.cast(pl.String).to_list()
    with ThreadPoolExecutor(pl.thread_pool_size()) as pool:
        for _ in pool.map(measure, range(len(names)), names):
            pass
    return dict(zip(NAMES, sizes, strict=True))


@compiled
def sizes_of_minute(trades: FlatTrades, symbols: Array, start: int, hours: SessionBounds) -> Array:
    """The values of `trade_sizes` of one minute, symbols x `NAMES`, of some symbols' trades; see `trade_sizes`."""
    sizes = np.full((len(NAMES), symbols.size), np.nan)
    starts = np.full(1, start)
    for at in range(symbols.size):
        first, end = trades.offsets[symbols[at]], trades.offsets[symbols[at] + 1]
        if end > first:
            _measure(trades, first, end, starts, hours, sizes[:, at : at + 1])
    return sizes.T.copy()


@compiled
def _measure(trades: FlatTrades, first: int, end: int, starts: Array, hours: SessionBounds, out: Array) -> None:
    """Fill `out` for the minutes at `starts` from one symbol's trades, rows `first` to `end`."""
    # Taking an array from its tuple for every trade would cost more than the trade.
    time, size, condition, traits, withdrawn = (
        trades.time, trades.size, trades.condition, trades.traits, trades.withdrawn
    )  # fmt: skip
    room = np.empty(end - first)
    row = first
    for minute in range(starts.size):
        start = starts[minute]
        shift = 0 if hours.regular_start <= start < hours.regular_end else EXTENDED_SHIFT
        while row < end and time[row] < start:
            row += 1
        count = 0
        while row < end and time[row] < start + NS_PER_MINUTE:
            is_withdrawn = withdrawn.size > 0 and withdrawn[row]
            # Written in any case and kept if it counts: a branch would be mispredicted.
            room[count] = size[row]
            count += not is_withdrawn and (traits[condition[row]] >> shift) & VOLUME != 0
            row += 1
        if count == 0:
            continue
        sizes = room[:count]
        total, largest = sizes.sum(), sizes.max()
        out[0, minute], above = _quantile(sizes, 0, count, 0.5)
        out[1, minute], _ = _quantile(above, count - above.size, count, 0.9)
        if total > 0.0:
            out[2, minute] = largest / total


@compiled
def _quantile(sizes: Array, passed: int, count: int, level: float) -> tuple[float, Array]:
    """The quantile of `count` sizes, of which `sizes` are all but the `passed` smallest; and those from the one below it on.

    Selected rather than sorted, which costs a third.
    """
    place = level * (count - 1)
    below = int(place)
    parted = np.partition(sizes, below - passed)[below - passed :]
    lower = parted[0]
    upper = parted[1:].min() if parted.size > 1 else lower
    return float(lower + (place - below) * (upper - lower)), parted
