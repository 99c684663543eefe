"""The order book behind the best prices, where the tape has it: snapshots of crypto pairs."""

import datetime as dt
import json

import polars as pl

from dashboard.reading.days import days_between
from tapewatch.market.instruments import Market
from tapewatch.market.tables.stream import ORDER_BOOK
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.many_days import read_symbol

#: Columns of `book`: `side` (bid or ask), `price`, `size` there, and `depth`: the size from the best price to there.
BOOK = pl.Schema({"side": pl.String(), "price": pl.Float64(), "size": pl.Float64(), "depth": pl.Float64()})
_DAYS = 2


def book(
    lake: Lake, market: Market, symbol: str, start: dt.datetime, end: dt.datetime
) -> tuple[dt.datetime, pl.DataFrame] | None:
    """The last snapshot in [start, end): its time and its levels (`BOOK`), each side from the best price on; None without any."""
    days = days_between(lake, ORDER_BOOK, market, start, end, _DAYS)
    rows = read_symbol(lake, ORDER_BOOK, days, symbol, ["time", "bids", "asks"])
    last = rows.filter(pl.col("time").is_between(start, end, closed="left")).sort("time").tail(1)
    if last.is_empty():
        return None
    time, bids, asks = last.row(0)
    sides = (("bid", bids), ("ask", asks))
    levels = [(side, float(price), float(size)) for side, text in sides for price, size in json.loads(text)]
    frame = pl.DataFrame(levels, schema={name: BOOK[name] for name in ("side", "price", "size")}, orient="row")
    return time, frame.with_columns(depth=pl.col("size").cum_sum().over("side"))
