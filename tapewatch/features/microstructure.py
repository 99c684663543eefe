"""Assembles the `microstructure` table from a day's tape."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl

from tapewatch.features.liquidity import liquidity
from tapewatch.features.order_flow import order_flow
from tapewatch.features.sums import MinuteSums, minute_sums
from tapewatch.features.volatility import returns_bps, volatility
from tapewatch.market.arrays import Array
from tapewatch.market.conditions import STOCK_UPDATE_RULES, Updates
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Session
from tapewatch.market.tables.tape import MICROSTRUCTURE, TIME

#: Earlier rows that any feature depends on: the window before the first of three minutes, and its return.
LOOK_BACK = 34
_SCHEMA = dict(MICROSTRUCTURE.schema)
_FLOATS = {name: at for at, name in enumerate(name for name, dtype in _SCHEMA.items() if dtype == pl.Float64)}
_FEW_ROWS = 10_000
_Column = Array | pl.Series
_AS_SUMMED = ("volume", "notional", "trade_count", "buy_volume", "sell_volume", "buy_count", "sell_count")


def microstructure(
    trades: pl.DataFrame,
    quotes: pl.DataFrame | None,
    session: Session,
    *,
    through_ns: int | None = None,
    symbols: Sequence[str] | None = None,
    rules: Mapping[int, Updates] = STOCK_UPDATE_RULES,
) -> pl.DataFrame:
    """`MICROSTRUCTURE` rows of whole symbols, minute by minute.

    A symbol has a row for every minute with a trade or a quote, and for every regular minute. Withdrawn trades are ignored.
    A trade enters the volume, the high and low, or the last price as its conditions allow (`market/conditions.py`); it has
    a side if it enters volume and last price, or is an odd lot (see `aggressor`). Trailing measures cover 30 minutes by the clock
    (`sustained_volume_*`: those before the measured minutes). Neither they nor VPIN's buckets cross the regular open or
    close, and nothing crosses days.

    No row depends on anything at or after its `known_time`, nor on another symbol.

    Args:
        trades: `TRADES` rows, sorted as the table says.
        quotes: `QUOTES` rows, likewise; the quote columns of a symbol without quotes are null.
        session: the day they belong to.
        through_ns: minutes that end later are left out; by default the day's end.
        symbols: the symbols of the rows; by default those on the tape. Name them if a part of a day shall have the rows of
            the whole day, since a symbol may not have traded yet.
        rules: condition code to allowed fields, for stocks.

    Raises:
        ValueError: rows are unsorted or lie outside the session's day.
    """
    through = session.day_end if through_ns is None else through_ns
    sums = minute_sums(trades, quotes, session, rules, through_ns=through, symbols=symbols)
    return minute_rows(sums)


def minute_rows(sums: MinuteSums, wanted: Array | None = None) -> pl.DataFrame:
    """`MICROSTRUCTURE` rows of minutes already summed: of all, or of those marked in `wanted`.

    If a symbol's earlier minutes are left out, only its first `LOOK_BACK` rows differ.
    """
    minute_returns = returns_bps(sums)
    columns: dict[str, _Column] = {
        **_setting(sums),
        **{name: sums[name] for name in _AS_SUMMED},
        "return_bps": minute_returns,
        **volatility(sums, minute_returns),
        **order_flow(sums),
        **liquidity(sums, minute_returns),
    }
    if wanted is not None:
        # Faster than filtering the frame, which starts a thread for each column.
        rows = np.flatnonzero(wanted)
        columns = {name: column[rows] for name, column in columns.items()}
    return pl.DataFrame(list(_series(columns)))


def _setting(sums: MinuteSums) -> dict[str, _Column]:
    """Keys, times, last prices and ages of each row."""
    start = sums["start"]
    end = start + NS_PER_MINUTE
    last_trade, last_quote = sums["last_trade"], sums["last_quote"]
    since_trade = end - np.where(last_trade >= 0, last_trade, sums.session.day_start)
    has_quotes = last_quote >= 0
    return {
        "symbol": sums.names[sums.symbol],
        "event_time": pl.Series(start).cast(TIME),
        "known_time": pl.Series(end).cast(TIME),
        "is_regular": (sums.minute >= 0) & (sums.minute < sums.session.regular_minutes),
        "session_minute": sums.minute,
        "last_price": sums["last_price"],
        "mid_price": sums["mid_price"],
        "trade_age_s": since_trade / NS_PER_SECOND,
        "quote_count": np.where(has_quotes, sums["quote_count"], np.nan),
        "tape_age_s": (end - np.where(has_quotes, np.maximum(last_trade, last_quote), end - since_trade))
        / NS_PER_SECOND,
        "quote_age_s": np.where(has_quotes, (end - last_quote) / NS_PER_SECOND, np.nan),
    }


def _series(columns: dict[str, _Column]) -> Iterator[pl.Series]:
    """The table's columns in order; NaN becomes null."""
    height = len(columns["symbol"])
    # With few rows the conversions take the time, so all columns are converted at once.
    is_joined = height <= _FEW_ROWS
    if is_joined:
        joined = pl.Series(np.concatenate([columns[name] for name in _FLOATS]), nan_to_null=True)
    for name, dtype in _SCHEMA.items():
        if is_joined and name in _FLOATS:
            yield joined.slice(_FLOATS[name] * height, height).alias(name)
            continue
        values = columns[name]
        if not isinstance(values, pl.Series):
            values = pl.Series(values, nan_to_null=values.dtype == np.float64)
        yield (values if values.dtype == dtype else values.cast(dtype)).alias(name)
