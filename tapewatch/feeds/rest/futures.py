"""Futures on REST, which have addresses, fields and units of their own.

The vendor moved them from `/futures/vX/…`, which the official client still uses and which is the fallback, to
`/futures/v1/…`. It documents nanoseconds on one page and milliseconds on another, so the unit is inferred by magnitude.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final
from urllib.parse import quote

import polars as pl
from polygon import RESTClient

from tapewatch.feeds.rest.columns import same_columns, sizes
from tapewatch.feeds.rest.decode import ColumnsDecoder
from tapewatch.feeds.rest.messages import FuturesBarRow, FuturesQuoteRow, FuturesTradeRow
from tapewatch.feeds.rest.pages import Request
from tapewatch.feeds.rest.transport import ask_path
from tapewatch.market.schema import Table
from tapewatch.market.tables.tape import F64, I64, QUOTES, TIME, TRADES

#: From 1973 to 2255, in nanoseconds for each unit that the vendor may mean.
_EARLIEST, _LATEST = 10**17, 9 * 10**18
_UNITS: Final = (1, 1_000, 1_000_000)
#: One less than in the other markets.
_LARGEST_PAGE: Final = 49_999
#: Rows name no exchange, because each contract trades on one.
_NO_EXCHANGE: Final = 0


def _ticks_request(
    table: str, list_ticks: Callable[..., Any], symbol: str, start: int, end: int, label: str, limit: int
) -> Request:
    """The `trades` or `quotes` of a contract from `start` to before `end`, ns UTC, oldest first."""
    asked = {"timestamp_gte": str(start), "timestamp_lt": str(end), "sort": "timestamp.asc"}
    return _request(table, list_ticks, symbol, label, limit, asked)


def bars_request(symbol: str, start: int, end: int, label: str, limit: int) -> Request:
    """The minute bars of a contract, as `trades_request`."""
    asked = {
        "resolution": "1min",
        "window_start_gte": str(start),
        "window_start_lt": str(end),
        "sort": "window_start.asc",
    }
    return _request("aggs", RESTClient.list_futures_aggregates, symbol, label, limit, asked)


def _request(
    table: str, ask: Callable[..., Any], symbol: str, label: str, limit: int, asked: Mapping[str, str]
) -> Request:
    """A request to `/futures/v1/{table}/{symbol}`, or else to the official client's address; an answer without rows may lack
    `results`."""
    ticker, size = quote(symbol, safe=":"), min(limit, _LARGEST_PAGE)
    path = f"/futures/v1/{table}/{ticker}"
    fields = {name.replace("_gte", ".gte").replace("_lt", ".lt"): value for name, value in asked.items()}
    return Request(
        f"{path} {label}",
        path,
        ask_path(path, {**fields, "limit": str(size)}),
        size,
        may_be_empty=True,
        instead=lambda client: ask(client, ticker, limit=size, raw=True, **asked),
    )


def bar_columns(rows: Sequence[FuturesBarRow]) -> pl.DataFrame:
    """The columns of DELIVERED_BARS without the symbol; vwap is null, as the dollar volume includes the contract's multiplier."""
    counts = [row.transaction_count if row.transactions is None else row.transactions for row in rows]
    return pl.DataFrame(
        [
            _times("time", [row.window_start for row in rows]),
            *same_columns(rows, **dict.fromkeys(("open", "high", "low", "close", "volume"), F64)),
            pl.Series("vwap", [None] * len(rows), F64),
            pl.Series("transactions", counts, I64),
        ]
    )


def trade_columns(rows: Sequence[FuturesTradeRow]) -> pl.DataFrame:
    """The columns of TRADES without the symbol, and `report_sequence`; both numbers are null where the vendor gives none."""
    frame = _tick_columns(rows, ("price",), TRADES, exchange=_NO_EXCHANGE, conditions="")
    return frame.with_columns(sizes(rows), *same_columns(rows, report_sequence=I64))


def quote_columns(rows: Sequence[FuturesQuoteRow]) -> pl.DataFrame:
    """The columns of QUOTES without the symbol; an absent side has price 0."""
    sides = ("bid_price", "ask_price", "bid_size", "ask_size")
    return _tick_columns(rows, sides, QUOTES, conditions="", indicators="")


def _tick_columns(
    rows: Sequence[FuturesTradeRow] | Sequence[FuturesQuoteRow],
    values: tuple[str, ...],
    table: Table,
    **constants: int | str,
) -> pl.DataFrame:
    """The table's columns without the symbol; those that futures lack are null or one of the `constants`."""
    times = _times("time", [row.timestamp for row in rows])
    sent = [
        times,
        times.alias("participant_time"),
        *same_columns(rows, sequence_number=I64, **dict.fromkeys(values, F64)),
    ]
    lacking = [
        pl.lit(constants.get(column.name), column.dtype).alias(column.name)
        for column in table.columns
        if column.name not in ("symbol", *(series.name for series in sent))
    ]
    return pl.DataFrame(sent).with_columns(lacking)


def _times(name: str, stamps: Sequence[int]) -> pl.Series:
    """Times in any of the units as nanoseconds; null where they fit none."""
    ns = pl.Series(name, [None], I64).new_from_index(0, len(stamps))
    values = pl.Series(name, stamps, I64)
    for unit in _UNITS:
        fits = values.is_between(_EARLIEST // unit, _LATEST // unit)
        ns = (values * unit).zip_with(fits, ns)
    return ns.cast(TIME)


TRADES_DECODER: Final = ColumnsDecoder(FuturesTradeRow, trade_columns)
QUOTES_DECODER: Final = ColumnsDecoder(FuturesQuoteRow, quote_columns)
BARS_DECODER: Final = ColumnsDecoder(FuturesBarRow, bar_columns)

trades_request: Final = partial(_ticks_request, "trades", RESTClient.list_futures_trades)
quotes_request: Final = partial(_ticks_request, "quotes", RESTClient.list_futures_quotes)
