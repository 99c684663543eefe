"""A day's bins as dense arrays: the inputs of the scan."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from models.scan.layout import (
    AGE,
    INPUTS,
    PRICE,
    ROOT_SIZE,
    SIDE,
    SIDES,
    SIZE_QUOTES,
    SIZE_SLOTS,
    SPREAD,
    TICK_SLOTS,
    TRADE_SLOTS,
)
from tapewatch.features.bins.records import BIN, BIN_NS, NEVER
from tapewatch.market.arrays import Array, flat
from tapewatch.market.compiled import njit
from tapewatch.market.instruments import NS_PER_SECOND, Session

_NEVER = np.iinfo(np.int64).min


class Standing(NamedTuple):
    """What stands for each symbol at the end of a bin: spread (bps), price (bps of the log), last tick (ns)."""

    spread: Array
    price: Array
    last_tick: Array


def nothing_standing(symbols: int) -> Standing:
    """Before a day's first tick."""
    return Standing(np.full(symbols, np.nan), np.full(symbols, np.nan), np.full(symbols, _NEVER))


def inputs_of(bins: pl.DataFrame, symbols: Sequence[str], session: Session, *, count: int | None = None) -> Array:
    """Inputs (symbols x INPUTS x bins) of a session.

    Silent bins count 0; price (bps of the log) and spread stand until they change and are NaN before the first. Symbols
    without rows have NaN prices; rows of other symbols are ignored.

    Args:
        bins: `BINS_5S` rows of one session.
        count: only the first bins; by default all of the session.
    """
    width = (session.regular_end - session.regular_start) // BIN_NS if count is None else count
    place = dict(zip(symbols, range(len(symbols)), strict=True))
    rows = bins.with_columns(
        position=pl.col("symbol").cast(pl.String).replace_strict(place, default=-1, return_dtype=pl.Int64)
    ).filter(pl.col("position") >= 0)
    records = np.zeros(rows.height, dtype=BIN)
    for name in BIN.names or ():
        source = {"start": "event_time"}.get(name, name)
        records[name] = flat(rows[source], null=NEVER if name == "last_tick" else np.nan)
    return next_inputs(records, flat(rows["position"]), nothing_standing(len(symbols)), session.regular_start, 0, width)


def next_inputs(
    records: Array, position: Array, standing: Standing, regular_start: int, first: int, count: int
) -> Array:
    """Inputs of `count` bins from bin `first` of a day, from `BIN` records of symbols at `position`; updates `standing`."""
    inputs = np.zeros((len(standing.price), INPUTS, count))
    _fill(inputs, records, position, standing, regular_start, first)
    return inputs


@njit(cache=True, nogil=True, error_model="numpy")
def _fill(inputs: Array, records: Array, position: Array, standing: Standing, start: int, first: int) -> None:
    symbols, _, width = inputs.shape
    rows = np.full((symbols, width), -1, dtype=np.int64)
    for row in range(position.size):
        at = (records[row].start - start) // BIN_NS - first
        if 0 <= at < width:
            rows[position[row], at] = row
    for symbol in range(symbols):
        for at in range(width):
            own = inputs[symbol, :, at]
            spread = standing.spread[symbol]
            if rows[symbol, at] >= 0:
                record = records[rows[symbol, at]]
                own[TRADE_SLOTS], own[SIZE_SLOTS] = record.trade_slots, record.size_quote_slots
                own[SIZE_QUOTES], own[ROOT_SIZE] = record.size_quotes, record.root_size
                own[TICK_SLOTS] = record.trade_slots + record.quote_slots
                own[SIDE], own[SIDES] = record.side_sum, record.side_count
                if not np.isnan(record.spread_bps):
                    spread = record.spread_bps
                if not np.isnan(record.standing_spread_bps):
                    standing.spread[symbol] = record.standing_spread_bps
                if record.price > 0.0:
                    standing.price[symbol] = 1e4 * np.log(record.price)
                if record.last_tick != NEVER:
                    standing.last_tick[symbol] = max(record.last_tick, start)
            own[SPREAD], own[PRICE] = spread, standing.price[symbol]
            # A symbol is not silent before its first tick of the day.
            own[AGE] = np.nan
            if standing.last_tick[symbol] != _NEVER:
                own[AGE] = (start + (first + at + 1) * BIN_NS - standing.last_tick[symbol]) / NS_PER_SECOND
