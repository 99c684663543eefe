"""Futures on REST: addresses, fields and units of their own, the same tables in the end.

The vendor moved them there from `/futures/vX/…`, which the official client still names and which is asked where v1 is not
known. It documents nanoseconds on one page and milliseconds on another: the magnitude decides.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import polars as pl
from polygon import RESTClient

from tapewatch.feeds.rest.decode import ColumnsDecoder
from tapewatch.feeds.rest.messages import FuturesBarRow, FuturesQuoteRow, FuturesTradeRow
from tapewatch.feeds.rest.pages import Request
from tapewatch.feeds.rest.transport import ask_path
from tapewatch.market.tables import F64, I8, I16, I64, SYMBOL, TEXT, TIME

#: From 1973 to 2255, in nanoseconds for each unit that the vendor may mean.
_EARLIEST, _LATEST = 10**17, 9 * 10**18
_UNITS: Final = (1, 1_000, 1_000_000)
#: One below that of the other markets.
_LARGEST_PAGE: Final = 49_999
#: Rows name no exchange: the contract has one.
_NO_EXCHANGE: Final = 0


def trades_request(symbol: str, start: int, end: int, label: str, limit: int) -> Request:
    """The trades of a contract from `start` to before `end`, ns UTC, oldest first."""
    asked = {"timestamp_gte": str(start), "timestamp_lt": str(end), "sort": "timestamp.asc"}
    return _request("trades", RESTClient.list_futures_trades, symbol, label, limit, asked)


def quotes_request(symbol: str, start: int, end: int, label: str, limit: int) -> Request:
    """The quotes of a contract, as `trades_request`."""
    asked = {"timestamp_gte": str(start), "timestamp_lt": str(end), "sort": "timestamp.asc"}
    return _request("quotes", RESTClient.list_futures_quotes, symbol, label, limit, asked)


def bars_request(symbol: str, start: int, end: int, label: str, limit: int) -> Request:
    """The minute bars of a contract, as `trades_request`."""
    window = {"window_start_gte": str(start), "window_start_lt": str(end), "sort": "window_start.asc"}
    asked = {"resolution": "1min", **window}
    return _request("aggs", RESTClient.list_futures_aggregates, symbol, label, limit, asked)


def _request(
    table: str, ask: Callable[..., Any], symbol: str, label: str, limit: int, asked: Mapping[str, str]
) -> Request:
    """A question to `/futures/v1/{table}/{symbol}`, or else to where the official client asks it; the vendor may leave out
    `results` where there are none."""
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
    """The columns of DELIVERED_BARS but the symbol; vwap is null: the dollar volume counts contracts times their multiplier."""
    counts = [row.transaction_count if row.transactions is None else row.transactions for row in rows]
    return pl.DataFrame(
        [
            _times("time", [row.window_start for row in rows]),
            *(pl.Series(name, [getattr(row, name) for row in rows], F64) for name in ("open", "high", "low", "close")),
            pl.Series("volume", [row.volume for row in rows], F64),
            pl.Series("vwap", [None] * len(rows), F64),
            pl.Series("transactions", counts, I64),
        ]
    )


def trade_columns(rows: Sequence[FuturesTradeRow]) -> pl.DataFrame:
    """The columns of TRADES but the symbol; `sequence_number` is null where the vendor states none."""
    times = _times("time", [row.timestamp for row in rows])
    frame = pl.DataFrame(
        [
            times,
            times.alias("participant_time"),
            pl.Series("sequence_number", [row.sequence_number for row in rows], I64),
            pl.Series("price", [row.price for row in rows], F64),
            pl.Series("size", [row.size for row in rows], F64),
        ]
    )
    return frame.with_columns(
        pl.lit(_NO_EXCHANGE, I16).alias("exchange"),
        pl.lit("", SYMBOL).alias("conditions"),
        pl.lit(None, TEXT).alias("id"),
        pl.lit(None, I8).alias("correction"),
        pl.lit(None, I16).alias("trf_id"),
        pl.lit(None, TIME).alias("trf_time"),
        pl.lit(None, I8).alias("tape"),
    )


def quote_columns(rows: Sequence[FuturesQuoteRow]) -> pl.DataFrame:
    """The columns of QUOTES but the symbol; an absent side has price 0."""
    times = _times("time", [row.timestamp for row in rows])
    sides = ("bid_price", "ask_price", "bid_size", "ask_size")
    frame = pl.DataFrame(
        [
            times,
            times.alias("participant_time"),
            pl.Series("sequence_number", [row.sequence_number for row in rows], I64),
            *(pl.Series(name, [getattr(row, name) for row in rows], F64) for name in sides),
        ]
    )
    return frame.with_columns(
        pl.lit(None, I16).alias("bid_exchange"),
        pl.lit(None, I16).alias("ask_exchange"),
        pl.lit("", SYMBOL).alias("conditions"),
        pl.lit("", SYMBOL).alias("indicators"),
        pl.lit(None, TIME).alias("trf_time"),
        pl.lit(None, I8).alias("tape"),
    )


def _times(name: str, stamps: Sequence[int]) -> pl.Series:
    """Times of any unit as nanoseconds; null where they fit none."""
    ns = pl.Series(name, [None], I64).new_from_index(0, len(stamps))
    values = pl.Series(name, stamps, I64)
    for unit in _UNITS:
        fits = values.is_between(_EARLIEST // unit, _LATEST // unit)
        ns = (values * unit).zip_with(fits, ns)
    return ns.cast(TIME)


TRADES_DECODER: Final = ColumnsDecoder(FuturesTradeRow, trade_columns)
QUOTES_DECODER: Final = ColumnsDecoder(FuturesQuoteRow, quote_columns)
BARS_DECODER: Final = ColumnsDecoder(FuturesBarRow, bar_columns)
