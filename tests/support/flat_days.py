"""Writes flat files in the vendor's layout from given rows."""

import csv
import datetime as dt
import gzip
import io
from collections.abc import Iterable, Mapping, Sequence

import fsspec

from tapewatch.feeds.files.layouts import LAYOUTS
from tapewatch.market.instruments import Market, Partition, session_of

STOCKS = Partition(dt.date(2024, 3, 5), Market.STOCKS)
CRYPTO = Partition(dt.date(2024, 3, 5), Market.CRYPTO)
FOREX = Partition(dt.date(2024, 3, 5), Market.FOREX)
OPTIONS = Partition(dt.date(2024, 3, 5), Market.OPTIONS)
INDICES = Partition(dt.date(2024, 3, 5), Market.INDICES)
FUTURES = Partition(dt.date(2024, 3, 5), Market.FUTURES)
DAYS = {day.market: day for day in (STOCKS, CRYPTO, FOREX, OPTIONS, INDICES, FUTURES)}
TICKERS = {
    Market.STOCKS: "AAPL",
    Market.CRYPTO: "X:BTC-USD",
    Market.FOREX: "C:EUR-USD",
    Market.INDICES: "I:SPX",
    Market.OPTIONS: "O:SPY241220P00720000",
    Market.FUTURES: "ESH4",
}

_BARS = "ticker,volume,open,close,high,low,window_start,transactions"
_INDEX_BARS = "ticker,open,close,high,low,window_start"

#: The vendor's columns in the vendor's order, by market and table.
HEADERS: Mapping[tuple[Market, str], str] = {
    (Market.STOCKS, "trades"): "ticker,conditions,correction,exchange,id,participant_timestamp,price,sequence_number,"
    "sip_timestamp,size,tape,trf_id,trf_timestamp",
    (Market.STOCKS, "quotes"): "ticker,ask_exchange,ask_price,ask_size,bid_exchange,bid_price,bid_size,conditions,"
    "indicators,participant_timestamp,sequence_number,sip_timestamp,tape,trf_timestamp",
    (Market.STOCKS, "bars"): _BARS,
    (Market.STOCKS, "day_bars"): _BARS,
    (Market.OPTIONS, "trades"): "ticker,conditions,correction,exchange,price,sip_timestamp,size",
    (Market.OPTIONS, "quotes"): "ticker,ask_exchange,ask_price,ask_size,bid_exchange,bid_price,bid_size,"
    "sequence_number,sip_timestamp",
    (Market.OPTIONS, "bars"): _BARS,
    (Market.OPTIONS, "day_bars"): _BARS,
    (Market.CRYPTO, "trades"): "ticker,conditions,exchange,id,participant_timestamp,price,size",
    (Market.CRYPTO, "bars"): _BARS,
    (Market.CRYPTO, "day_bars"): _BARS,
    (Market.FOREX, "quotes"): "ticker,ask_exchange,ask_price,bid_exchange,bid_price,participant_timestamp",
    (Market.FOREX, "bars"): _BARS,
    (Market.FOREX, "day_bars"): _BARS,
    (Market.INDICES, "bars"): _INDEX_BARS,
    (Market.INDICES, "day_bars"): _INDEX_BARS,
    (Market.FUTURES, "trades"): "ticker,timestamp,sequence_number,report_sequence,price,size,correction,exchange,"
    "session_end_date",
    (Market.FUTURES, "quotes"): "ticker,timestamp,sequence_number,report_sequence,ask_timestamp,ask_price,ask_size,"
    "bid_timestamp,bid_price,bid_size,exchange,session_end_date",
    (Market.FUTURES, "bars"): "ticker,exchange,session_end_date,window_start,open,high,low,close,volume,dollar_volume,"
    "transactions",
    (Market.FUTURES, "day_bars"): "ticker,session_end_date,window_start,open,high,low,close,volume,dollar_volume,"
    "transactions,settlement_price",
}
_DEFAULTS = {
    "ticker": "AAPL",
    "conditions": "",
    "correction": 0,
    "exchange": 11,
    "id": 1,
    "price": 100.5,
    "size": 100,
    "tape": 3,
    "trf_id": 0,
    "trf_timestamp": 0,
    "sequence_number": 1,
    "indicators": "",
    "ask_exchange": 11,
    "ask_price": 100.52,
    "ask_size": 300,
    "bid_exchange": 12,
    "bid_price": 100.5,
    "bid_size": 200,
    "volume": 1000,
    "open": 10.0,
    "high": 11.0,
    "low": 9.0,
    "close": 10.5,
    "transactions": 7,
    "report_sequence": 1,
    "session_end_date": "2024-03-05",
    "dollar_volume": 10_250.0,
    "settlement_price": 10.5,
}
_TIMES = (
    "sip_timestamp",
    "participant_timestamp",
    "window_start",
    "timestamp",
    "ask_timestamp",
    "bid_timestamp",
)


def noon(partition: Partition, seconds: float = 0) -> int:
    """The middle of a partition's regular session plus some seconds, ns UTC."""
    session = session_of(partition.market, partition.date)
    assert session is not None
    return (session.regular_start + session.regular_end) // 2 + round(seconds * 1e9)


def row(partition: Partition, table: str, at: float = 0, **values: object) -> dict[str, object]:
    """A valid row `at` seconds after `noon`, with some values replaced."""
    times = dict.fromkeys(_TIMES, noon(partition, at))
    given = {**_DEFAULTS, **times, **values}
    return {name: given[name] for name in HEADERS[partition.market, table].split(",")}


def text(partition: Partition, table: str, rows: Iterable[Mapping[str, object] | str]) -> str:
    """A file's text: the header and the rows; a string is written as a line."""
    header: Sequence[str] = HEADERS[partition.market, table].split(",")
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    for line in rows:
        if isinstance(line, str):
            out.write(line + "\n")
        else:
            writer.writerow([line[name] for name in header])
    return out.getvalue()


def path(root: object, partition: Partition, table: str, suffix: str = ".csv.gz", venue: str = "") -> str:
    """The file's path in the vendor's layout; futures have a folder a `venue`, by default the first."""
    folders = LAYOUTS[partition.market, table].folders
    folder = next(folder for folder in folders if venue in folder)
    return f"{root}/{folder}/{partition.date:%Y/%m}/{partition.date}{suffix}"


def put(
    root: object,
    partition: Partition,
    table: str,
    rows: Iterable[Mapping[str, object] | str] | str,
    suffix: str = ".csv.gz",
    venue: str = "",
) -> str:
    """Write a day's file from rows or text under a folder or fsspec URL; returns its path."""
    content = (rows if isinstance(rows, str) else text(partition, table, rows)).encode()
    target = path(root, partition, table, suffix, venue)
    with fsspec.open(target, "wb", auto_mkdir=True) as stream:
        stream.write(gzip.compress(content, 1) if suffix.endswith(".gz") else content)
    return target
