"""Trades, quotes and bars on REST: their addresses, their decoders, and the rules by which rows are refused."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import partial
from typing import Any, Final, Self
from urllib.parse import quote

import polars as pl
from polygon import RESTClient

from tapewatch.feeds.plans.table import TapeTable
from tapewatch.feeds.rest import futures
from tapewatch.feeds.rest.columns import quote_columns, trade_columns
from tapewatch.feeds.rest.decode import BarsDecoder, ColumnsDecoder, DecodedColumns
from tapewatch.feeds.rest.messages import QuoteRow, TradeRow
from tapewatch.feeds.rest.pages import Request
from tapewatch.market.instruments import Market, Session
from tapewatch.market.prices import is_no_price, is_no_side, price_rule
from tapewatch.market.schema import Table
from tapewatch.market.tables.tape import DELIVERED_BARS, QUOTES, TRADES
from tapewatch.market.tickers import to_rest

_NS_PER_MS: Final = 1_000_000

Rule = tuple[pl.Expr, pl.Expr]


class Numbering(Enum):
    """Whether a market's rows carry sequence numbers on REST."""

    ALWAYS = auto()
    #: Kept if every row of the day has one of its own; else rows are numbered by their position in the day.
    WHERE_STATED = auto()
    NEVER = auto()


def numbering(tape: TapeTable, market: Market) -> Numbering:
    """As the vendor documents: trades of options and rows of futures have none on REST, though their streams have."""
    if market in (Market.CRYPTO, Market.FOREX):
        return Numbering.NEVER
    if market is Market.FUTURES or (market is Market.OPTIONS and tape is TapeTable.TRADES):
        return Numbering.WHERE_STATED
    return Numbering.ALWAYS


@dataclass(frozen=True, slots=True)
class Window:
    """The time range of a request: int64 ns UTC, half-open, and its name in messages."""

    start: int
    end: int
    label: str

    @classmethod
    def spanning(cls, first: Session, last: Session | None = None) -> Self:
        """From the beginning of one day to the end of another, of the same one where `last` is None."""
        last = last or first
        label = f"{first.date}" if first.date == last.date else f"{first.date} … {last.date}"
        return cls(first.day_start, last.day_end, label)


@dataclass(frozen=True, slots=True)
class Kind:
    """One table on REST. `rules` pairs each fault that no market allows with its message."""

    tape: TapeTable
    table: Table
    decoder: Callable[[bytes], DecodedColumns]
    request: Callable[[str, Window, int], Request]
    rules: tuple[Rule, ...]


def _ticks_request(table: str, list_ticks: Callable[..., Any], symbol: str, window: Window, limit: int) -> Request:
    ticker = quote(symbol, safe=":")
    path = f"/v3/{table}/{ticker}"
    asked = {"timestamp_gte": window.start, "timestamp_lt": window.end, "order": "asc", "sort": "timestamp"}
    return Request(
        f"{path} {window.label}",
        path,
        lambda client: list_ticks(client, ticker, **asked, limit=limit, raw=True),
        limit,
        symbol,
    )


def _bars_request(symbol: str, window: Window, limit: int) -> Request:
    ticker = quote(to_rest(symbol), safe=":")
    # Both ends are included, and in milliseconds.
    first_ms, last_ms = -(-window.start // _NS_PER_MS), (window.end - 1) // _NS_PER_MS
    path = f"/v2/aggs/ticker/{ticker}/range/1/minute"
    return Request(
        f"{path} {window.label}",
        path,
        lambda client: client.list_aggs(
            ticker, 1, "minute", first_ms, last_ms, adjusted=False, sort="asc", limit=limit, raw=True
        ),
        limit,
        to_rest(symbol),
        is_aggregate=True,
    )


def _must_be(column: str, least: str, fault: pl.Expr) -> Rule:
    return fault, pl.format(f"{column} is {{}}; it must be {least}", pl.col(column))


def _negative(*columns: str) -> tuple[Rule, ...]:
    return tuple(_must_be(column, "0 or more", pl.col(column) < 0) for column in columns)


def price_rules(kind: Kind, market: Market) -> tuple[Rule, ...]:
    """The market's rule for every price of the table. A side of a quote may be 0, and so may the vwap of no volume."""
    rules = []
    for name in (column.name for column in kind.table.columns if column.is_price):
        may_be_zero = kind.tape is TapeTable.QUOTES or name == "vwap"
        fault = is_no_side(name, market) if may_be_zero else is_no_price(name, market)
        rules.append(_must_be(name, f"a {price_rule(market, may_be_empty=may_be_zero)}", fault))
    return tuple(rules)


def time_rules(window: Window, now: int) -> tuple[Rule, ...]:
    """A row must have a time, within the window of the request and not in the future."""
    time = pl.col("time")
    ns = time.dt.timestamp("ns")
    return (
        (time.is_null(), pl.lit("time: the row states none")),
        (
            ~ns.is_between(window.start, window.end, closed="left"),
            pl.format("time {} lies outside the requested range", time),
        ),
        (ns > now, pl.format("time {} lies in the future", time)),
    )


_HIGHEST = pl.max_horizontal("open", "low", "close")
_LOWEST = pl.min_horizontal("open", "high", "close")

TRADES_KIND: Final = Kind(
    TapeTable.TRADES,
    TRADES,
    ColumnsDecoder(TradeRow, trade_columns),
    partial(_ticks_request, "trades", RESTClient.list_trades),
    (*_negative("size"), (pl.col("size").is_null(), pl.lit("size: the row states no finite number"))),
)
QUOTES_KIND: Final = Kind(
    TapeTable.QUOTES,
    QUOTES,
    ColumnsDecoder(QuoteRow, quote_columns),
    partial(_ticks_request, "quotes", RESTClient.list_quotes),
    _negative("bid_size", "ask_size"),
)
BARS_KIND: Final = Kind(
    TapeTable.BARS,
    DELIVERED_BARS,
    BarsDecoder(),
    _bars_request,
    (
        *_negative("volume", "transactions"),
        (pl.col("high") < _HIGHEST, pl.format("high {} lies below {}", pl.col("high"), _HIGHEST)),
        (pl.col("low") > _LOWEST, pl.format("low {} lies above {}", pl.col("low"), _LOWEST)),
    ),
)

_KINDS: Final = {kind.tape: kind for kind in (BARS_KIND, TRADES_KIND, QUOTES_KIND)}


def _of_futures(kind: Kind, decoder: Callable[[bytes], DecodedColumns], ask: Callable[..., Request]) -> Kind:
    return replace(kind, decoder=decoder, request=lambda symbol, w, limit: ask(symbol, w.start, w.end, w.label, limit))


_FUTURES_KINDS: Final = {
    TapeTable.BARS: _of_futures(BARS_KIND, futures.BARS_DECODER, futures.bars_request),
    TapeTable.TRADES: _of_futures(TRADES_KIND, futures.TRADES_DECODER, futures.trades_request),
    TapeTable.QUOTES: _of_futures(QUOTES_KIND, futures.QUOTES_DECODER, futures.quotes_request),
}


def kind_of(tape: TapeTable, market: Market) -> Kind:
    """How to request and decode a market's table."""
    return (_FUTURES_KINDS if market is Market.FUTURES else _KINDS)[tape]
