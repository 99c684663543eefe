"""Order flow, spread, depth and volatility minute by minute, and how symbols move together."""

import datetime as dt
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from tsdownsample import MinMaxLTTBDownsampler

from dashboard.reading.days import days_between
from tapewatch.market.instruments import Market
from tapewatch.market.tables.features import CORRELATION_MINUTES, CORRELATIONS
from tapewatch.market.tables.live import LIVE_MICROSTRUCTURE
from tapewatch.market.tables.tape import MICROSTRUCTURE
from tapewatch.store.database.database import Database
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.many_days import read_symbol

#: Columns of `minutes`, as `MICROSTRUCTURE` defines them.
COLUMNS = (
    "event_time", "return_bps", "buy_volume", "sell_volume", "order_flow_imbalance", "quoted_spread_bps", "depth_imbalance",
    "realised_volatility_bps", "volume_ratio", "quote_rate_hz",
)  # fmt: skip
#: A longer stretch is cut to its end: these are panels of minutes.
MOST_DAYS = 31
#: A stored matrix may have begun its last minute this long before the moment that is shown.
_MATRIX_AGE = dt.timedelta(minutes=7)


def minutes(
    lake: Lake, database: Database, market: Market, symbol: str, start: dt.datetime, end: dt.datetime
) -> pl.DataFrame:
    """One symbol's minutes (`COLUMNS`) in [start, end), at most the last 31 days of it; the lake's, then the live ones."""
    start = max(start, end - dt.timedelta(days=MOST_DAYS))
    days = days_between(lake, MICROSTRUCTURE, market, start, end, MOST_DAYS)
    stored = read_symbol(lake, MICROSTRUCTURE, days, symbol, COLUMNS)
    after = stored["event_time"].max() if stored.height else None
    live = database.read(LIVE_MICROSTRUCTURE, market=market, symbol=symbol, start=start, end=end).select(COLUMNS)
    newer = live if after is None else live.filter(pl.col("event_time") > after)
    inside = pl.col("event_time").is_between(start, end, closed="left")
    return pl.concat([stored, newer]).filter(inside).sort("event_time")


def thinned(rows: pl.DataFrame, column: str, most: int = 1_200) -> pl.DataFrame:
    """`event_time` and a column without nulls, at most `most` rows, which keep the line's shape (MinMaxLTTB)."""
    line = rows.select("event_time", pl.col(column).fill_nan(None)).drop_nulls()
    if line.height <= most:
        return line
    times = line["event_time"].dt.epoch("ns").to_numpy()
    kept = MinMaxLTTBDownsampler().downsample(times, line[column].to_numpy(), n_out=most)
    return line[np.asarray(kept)]


def flows(rows: pl.DataFrame, most: int = 130) -> pl.DataFrame:
    """Bought and sold volume and their imbalance in at most `most` equal stretches: event_time, buy, sell, imbalance."""
    each = max(-(-rows.height // most), 1)
    number = (pl.int_range(pl.len()) // each).alias("number")
    sums = rows.group_by(number, maintain_order=True).agg(
        pl.col("event_time").first(), buy=pl.col("buy_volume").sum(), sell=pl.col("sell_volume").sum()
    )
    total = pl.col("buy") + pl.col("sell")
    return sums.drop("number").with_columns(
        imbalance=pl.when(total > 0).then((pl.col("buy") - pl.col("sell")) / total).cast(pl.Float64)
    )


def correlations(
    lake: Lake,
    database: Database,
    market: Market,
    symbols: Sequence[str],
    end: dt.datetime,
    window: int,
) -> pl.DataFrame:
    """Pearson's correlation of one-minute returns over the last `window` minutes before `end` that have any.

    Where the lake, or else the database, holds the matrix of that moment and window it is read, else it is computed.

    Returns: `symbol`, and a column for each symbol that has returns; null where one of two never moved.
    """
    for rows in _matrices(lake, database, market, symbols, end, window):
        if (stored := _stored(rows, symbols, end, f"correlation_{window}m")) is not None:
            return stored
    returns = None
    for symbol in symbols:
        rows = minutes(lake, database, market, symbol, end - dt.timedelta(days=4), end)
        line = rows.select("event_time", pl.col("return_bps").alias(symbol)).drop_nulls()
        if line.height:
            returns = line if returns is None else returns.join(line, on="event_time", how="full", coalesce=True)
    if returns is None:
        return pl.DataFrame(schema={"symbol": pl.String})
    last = returns.sort("event_time").tail(window).drop("event_time")
    matrix = {second: [last.select(pl.corr(first, second)).item() for first in last.columns] for second in last.columns}
    return pl.DataFrame({"symbol": last.columns, **matrix}).with_columns(pl.col(pl.Float64).fill_nan(None))


def _matrices(
    lake: Lake, database: Database, market: Market, symbols: Sequence[str], end: dt.datetime, window: int
) -> Iterator[pl.DataFrame]:
    """The rows of `CORRELATIONS` shortly before `end`: those of the lake, then the live ones."""
    if window not in CORRELATION_MINUTES:
        return
    begin, columns = end - _MATRIX_AGE, ["symbol", "other", "event_time", "known_time", f"correlation_{window}m"]
    for day in days_between(lake, CORRELATIONS, market, begin, end, 1):
        yield lake.read(CORRELATIONS, day, columns=columns, symbols=list(symbols))
    own = {"symbol": list(symbols)}
    yield database.read(CORRELATIONS, market=market, start=begin, end=end, where=own).select(columns)


def _stored(rows: pl.DataFrame, symbols: Sequence[str], end: dt.datetime, name: str) -> pl.DataFrame | None:
    """The newest matrix that was known at `end`; None where it lacks one of the symbols."""
    is_due = (pl.col("event_time") >= end - _MATRIX_AGE) & (pl.col("known_time") <= end)
    rows = rows.with_columns(pl.selectors.categorical().cast(pl.String))
    rows = rows.filter(is_due, *(pl.col(each).is_in(list(symbols)) for each in ("symbol", "other")))
    rows = rows.filter(pl.col("event_time") == pl.col("event_time").max())
    if set(rows["symbol"]) != set(symbols):
        return None
    own = pl.DataFrame({"symbol": list(symbols), "other": list(symbols), name: [1.0] * len(symbols)})
    whole = pl.concat([rows.select("symbol", "other", name), own]).pivot("other", index="symbol", values=name)
    return (
        pl.DataFrame({"symbol": list(symbols)})
        .join(whole, on="symbol", maintain_order="left")
        .select("symbol", *symbols)
    )
