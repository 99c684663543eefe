"""The tape around an event, second by second, for a replay: trades and quotes where the lake has them, else minute bars."""

import datetime as dt
import math
from dataclasses import dataclass

import polars as pl

from dashboard.reading.days import days_between
from dashboard.reading.history import Histories
from tapewatch.market.instruments import NS_PER_SECOND, Market
from tapewatch.market.schema import Table
from tapewatch.market.tables.tape import QUOTES, TRADES
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.many_days import read_symbol

#: The longest stretch that is replayed.
LONGEST = dt.timedelta(hours=2)
_DAYS, _MOST_BARS = 2, 400
#: Corrections of trades that do not count.
_WITHDRAWN = (7, 8)
_S = pl.col("time").dt.epoch("s")


@dataclass(frozen=True, slots=True)
class Replay:
    """Every second of a stretch: `time` (s, when the second begins), `price` of its last trade, `volume`, `bid` and `ask` as they stood at
    its end; NaN where there was none. `source` says what it was made from."""

    seconds: pl.DataFrame
    source: str


def replay(
    lake: Lake, histories: Histories, market: Market, symbol: str, start: dt.datetime, end: dt.datetime
) -> Replay:
    """The tape in [start, end), at most `LONGEST` of it.

    Bars come at their ends, when they are known. Raises LakeError where a partition cannot be read.
    """
    end = min(end, start + LONGEST)
    first, last = int(start.timestamp()), int(end.timestamp())
    grid = pl.DataFrame({"time": pl.int_range(first, last, eager=True)})
    traded = _rows(lake, TRADES, market, symbol, start, end, ["price", "size", "correction"])
    traded = traded.filter(~pl.col("correction").is_in(_WITHDRAWN).fill_null(value=False))
    quoted = _rows(lake, QUOTES, market, symbol, start, end, ["bid_price", "ask_price"])
    source = " and ".join(name for name, rows in (("trades", traded), ("quotes", quoted)) if rows.height)
    if traded.is_empty():
        source = f"minute bars, each at its end{', and quotes' if quoted.height else ''}"
        traded = _bars(histories, market, symbol, start, end)
    prices = traded.group_by("time").agg(pl.col("price").last(), volume=pl.col("size").sum())
    best = quoted.group_by("time").agg(bid=_price("bid_price").last(), ask=_price("ask_price").last())
    seconds = grid.join(prices, on="time", how="left").join(best, on="time", how="left").sort("time")
    # A side without a price is NaN, and stays so until the next quote.
    stands = pl.col("bid", "ask").forward_fill()
    return Replay(seconds.with_columns(stands).cast(pl.Float64).fill_null(math.nan), source)


def _price(side: str) -> pl.Expr:
    return pl.when(pl.col(side) > 0).then(pl.col(side)).otherwise(math.nan)


def _rows(
    lake: Lake, table: Table, market: Market, symbol: str, start: dt.datetime, end: dt.datetime, columns: list[str]
) -> pl.DataFrame:
    days = days_between(lake, table, market, start, end, _DAYS)
    rows = read_symbol(lake, table, days, symbol, ["time", *columns])
    inside = rows.filter(pl.col("time").is_between(start, end, closed="left")).sort("time", maintain_order=True)
    return inside.with_columns(_S)


def _bars(histories: Histories, market: Market, symbol: str, start: dt.datetime, end: dt.datetime) -> pl.DataFrame:
    bounds = (int(time.timestamp()) * NS_PER_SECOND for time in (start, end))
    view = histories.view(market, symbol, *bounds, _MOST_BARS)
    ends = (pl.col("time") + view.minutes * 60).cast(pl.Int64)
    return view.candles.select(time=ends, price="close", size="volume")
