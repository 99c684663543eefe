"""Tables of the stream: rows in order of arrival, which wait in the spool for the lake, and the ledger of those that are there."""

from dataclasses import replace

from tapewatch.market.schema import Column, Table
from tapewatch.market.tables.tape import (
    F64,
    I16,
    I32,
    I64,
    LISTING,
    OHLC,
    QUOTES,
    SYMBOL,
    TEXT,
    TIME,
    TRADES,
    VWAP,
    count,
    optional,
    price,
)

_SYMBOL = TRADES.by_name["symbol"]
_TIME = Column("time", TIME, "when it happened, as the vendor states it")
_RECEIVED = Column("received_time", TIME, "when the frame reached this machine, by its own clock")
_EXCHANGE = optional("exchange", I16, "the vendor's exchange id")


def _streamed(table: Table, description: str) -> Table:
    """A tape table as the stream delivers it: the numbers that the vendor does not send are null."""
    columns = tuple(
        replace(column, is_nullable=column.is_nullable or column.name == "sequence_number") for column in table.columns
    )
    return Table(f"stream_{table.name}", "stream", description, ("symbol", "time"), (*columns, _RECEIVED))


STREAM_TRADES = _streamed(TRADES, "Trades in order of arrival; times are as coarse as the stream states them.")
STREAM_QUOTES = _streamed(QUOTES, "Best bids and offers in order of arrival.")

STREAM_BARS = Table(
    "stream_bars",
    "stream",
    "Bars that the vendor streams; a later row of the same symbol, clock and time replaces the earlier.",
    key=("symbol", "clock", "time"),
    columns=(
        _SYMBOL,
        Column("time", TIME, "start of the bar"),
        Column("clock", SYMBOL, "`1s` or `1m`"),
        *OHLC,
        Column("volume", F64, "eligible volume; 0 where the market has none", "base units", minimum=0),
        VWAP,
        optional("average_size", F64, "mean trade size of the bar", "base units", minimum=0),
        optional("day_volume", F64, "volume of the day so far", "base units", minimum=0),
        optional("transactions", I64, "trades, where the vendor counts them", minimum=0),
        optional("delivered_by", TEXT, "`rest` or `flat_files` where a gap was filled; null for the stream's own"),
        _RECEIVED,
    ),
)

INDEX_VALUES = Table(
    "index_values",
    "tape",
    "Values of indices as they were published.",
    key=("symbol", "time"),
    columns=(_SYMBOL, _TIME, Column("value", F64, "value of the index", "points"), _RECEIVED),
)

PRICE_BANDS = Table(
    "price_bands",
    "tape",
    "Limit up and limit down bands of stocks.",
    key=("symbol", "time"),
    columns=(
        _SYMBOL,
        _TIME,
        price("high_price", "upper band", is_nullable=True),
        price("low_price", "lower band", is_nullable=True),
        optional("indicators", SYMBOL, 'indicator codes as "1,14"'),
        LISTING,
        optional("sequence_number", I64, "the tape's number"),
        _RECEIVED,
    ),
)

AUCTION_IMBALANCES = Table(
    "auction_imbalances",
    "tape",
    "Net order imbalances before auctions.",
    key=("symbol", "time"),
    columns=(
        _SYMBOL,
        _TIME,
        optional("auction_time", I32, "auction's time of day, HHMM in New York"),
        optional("auction_type", SYMBOL, "O opening, M market, C closing, H halt, P close, R regulatory"),
        optional("sequence_number", I64, "symbol's sequence number"),
        _EXCHANGE,
        optional("imbalance", F64, "shares without a counterpart; negative on the sell side", "base units"),
        optional("paired", F64, "shares paired off", "base units"),
        optional("clearing_price", F64, "price at which the book would clear", "quote currency"),
        _RECEIVED,
    ),
)

ORDER_BOOK = Table(
    "order_book",
    "tape",
    "Depth of book snapshots of crypto pairs.",
    key=("symbol", "time"),
    columns=(
        _SYMBOL,
        _TIME,
        _EXCHANGE,
        Column("bids", TEXT, "JSON list of [price, size], best first"),
        Column("asks", TEXT, "JSON list of [price, size], best first"),
        _RECEIVED,
    ),
)

STREAM_BATCHES = Table(
    "stream_batches",
    "tape",
    "The ledger of the stream: one row per batch that was merged into the lake.",
    key=("batch",),
    columns=(
        Column("batch", TEXT, "name of the batch: producer, number, table"),
        Column("producer", SYMBOL, "`collector`, `healer`, or `backfill` for rows that the lake held before"),
        Column("table", SYMBOL, "table that the rows belong to"),
        count("rows", "rows in the batch"),
        count("added", "rows that were new to the lake"),
        count("revised", "rows that replaced an earlier revision"),
        count("repeated", "rows that were in the lake already"),
        optional("first_time", TIME, "earliest event"),
        optional("last_time", TIME, "latest event"),
        Column("merged_time", TIME, "when the batch was merged"),
        optional("record_symbol", SYMBOL, "symbol of which a source of record delivered a whole stretch"),
        optional("record_start", TIME, "start of that stretch"),
        optional("record_end", TIME, "end of that stretch"),
    ),
)

_OTHERS = (INDEX_VALUES, PRICE_BANDS, AUCTION_IMBALANCES, ORDER_BOOK)
STREAMED: tuple[Table, ...] = (STREAM_TRADES, STREAM_QUOTES, STREAM_BARS, *_OTHERS)
