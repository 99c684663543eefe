"""A day's bins as dense arrays: the inputs of the scan."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from models.scan.layout import INPUTS
from tapewatch.features.bins.records import BIN_NS
from tapewatch.market.arrays import Array, flat
from tapewatch.market.compiled import njit
from tapewatch.market.instruments import NS_PER_SECOND, Session

_NEVER = np.iinfo(np.int64).min


def inputs_of(bins: pl.DataFrame, symbols: Sequence[str], session: Session, *, count: int | None = None) -> Array:
    """Inputs (symbols x INPUTS x bins) of a session.

    Silent bins count 0; price (bps of the log) and spread stand until they change and are NaN before the first. Symbols
    without rows have NaN prices; rows of other symbols are ignored.

    Args:
        bins: `BINS_5S` rows of one session.
        count: only the first bins; by default all of the session.
    """
    width = (session.regular_end - session.regular_start) // BIN_NS if count is None else count
    inputs = np.zeros((len(symbols), INPUTS, width))
    rows = bins.with_columns(
        slots=pl.col("trade_slots") + pl.col("quote_slots"),
        log_price=pl.when(pl.col("price") > 0).then(pl.col("price").log() * 1e4),
        position=pl.col("symbol").cast(pl.String).replace_strict(dict(zip(symbols, range(len(symbols)), strict=True)), default=-1),
    ).filter(pl.col("position") >= 0)  # fmt: skip
    columns = ("trade_slots", "size_quote_slots", "size_quotes", "root_size", "slots", "side_sum", "side_count")
    _fill(
        inputs,
        flat(rows["position"].cast(pl.Int64)),
        (flat(rows["event_time"]) - session.regular_start) // BIN_NS,
        np.array([flat(rows[name].cast(pl.Float64)) for name in columns]).reshape(len(columns), -1),
        flat(rows["spread_bps"].cast(pl.Float64), null=np.nan),
        flat(rows["standing_spread_bps"].cast(pl.Float64), null=np.nan),
        flat(rows["log_price"].cast(pl.Float64), null=np.nan),
        flat(rows["last_tick"], null=_NEVER),
        session.regular_start,
    )
    return inputs


@njit(cache=True, nogil=True)
def _fill(
    inputs: Array,
    position: Array,
    at: Array,
    values: Array,
    spread: Array,
    standing: Array,
    price: Array,
    last_tick: Array,
    start: int,
) -> None:
    symbols, _, width = inputs.shape
    rows = np.full((symbols, width), -1, dtype=np.int64)
    for row in range(position.size):
        if 0 <= at[row] < width:
            rows[position[row], at[row]] = row
    for symbol in range(symbols):
        known_price = known_spread = np.nan
        last = _NEVER
        for bin_ in range(width):
            row = rows[symbol, bin_]
            now_spread = known_spread
            if row >= 0:
                for column in range(values.shape[0]):
                    inputs[symbol, column, bin_] = values[column, row]
                if not np.isnan(spread[row]):
                    now_spread = spread[row]
                if not np.isnan(standing[row]):
                    known_spread = standing[row]
                if not np.isnan(price[row]):
                    known_price = price[row]
                if last_tick[row] != _NEVER:
                    last = max(last_tick[row], start)
            inputs[symbol, 7, bin_] = now_spread
            inputs[symbol, 8, bin_] = known_price
            # A symbol is not silent before its first tick of the day.
            inputs[symbol, 9, bin_] = np.nan
            if last != _NEVER:
                inputs[symbol, 9, bin_] = (start + (bin_ + 1) * BIN_NS - last) / NS_PER_SECOND
