"""Small tapes and orders, by seconds after the open of Monday 2024-06-03."""

import datetime as dt
from collections.abc import Iterable
from typing import Any

import polars as pl

from tapewatch.market.instruments import NS_PER_MINUTE
from tapewatch.market.tables.tape import BARS, QUOTES, TIME, TRADES
from tapewatch.trading.tables import ORDERS

OPEN = dt.datetime(2024, 6, 3, 13, 30, tzinfo=dt.UTC)
OPEN_NS = int(OPEN.timestamp()) * 1_000_000_000


def at(seconds: float) -> dt.datetime:
    """A time, by seconds after the open."""
    return OPEN + dt.timedelta(seconds=seconds)


def quotes(*rows: tuple[float, float, float, float, float], symbol: str = "AAPL") -> pl.DataFrame:
    """Quotes of one symbol: seconds, bid, ask, bid size, ask size."""
    frame = pl.DataFrame(
        [
            (symbol, at(second), number, bid, ask, bid_size, ask_size)
            for number, (second, bid, ask, bid_size, ask_size) in enumerate(rows)
        ],
        schema=["symbol", "time", "sequence_number", "bid_price", "ask_price", "bid_size", "ask_size"],
        orient="row",
    )
    return QUOTES.conform(frame)


def trades(*rows: tuple[float, float, float], symbol: str = "AAPL") -> pl.DataFrame:
    """Trades of one symbol: seconds, price, size."""
    frame = pl.DataFrame(
        [(symbol, at(second), number, price, size, 4, "") for number, (second, price, size) in enumerate(rows)],
        schema=["symbol", "time", "sequence_number", "price", "size", "exchange", "conditions"],
        orient="row",
    )
    return TRADES.conform(frame)


def bars(*rows: tuple[float, float, float, float, float], symbol: str = "AAPL", first: int = 0) -> pl.DataFrame:
    """Minute bars of one symbol from minute `first` on: open, high, low, close, volume."""
    times = [at(60 * (first + minute)) for minute in range(len(rows))]
    frame = pl.DataFrame(
        [(symbol, time, time + dt.timedelta(minutes=1), *row, "trades") for time, row in zip(times, rows, strict=True)],
        schema=["symbol", "time", "known_time", "open", "high", "low", "close", "volume", "source"],
        orient="row",
    )
    return BARS.conform(frame)


def order(order_id: str, seconds: float, side: int, quantity: float, **more: Any) -> dict[str, Any]:
    """An order; a market order for the day unless `more` says otherwise."""
    plain = {"symbol": "AAPL", "kind": "market", "time_in_force": "day", "tag": "test"}
    if "limit_price" in more:
        plain["kind"] = "limit"
    if "stop_price" in more:
        plain["kind"] = "stop"
    return {"order_id": order_id, "time": at(seconds), "side": side, "quantity": float(quantity), **plain, **more}


def orders(*rows: dict[str, Any]) -> pl.DataFrame:
    """Orders of `order`."""
    return ORDERS.conform(pl.DataFrame(rows, infer_schema_length=None)) if rows else ORDERS.empty()


def minutes(*, frames: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Bars of several symbols as one frame, sorted."""
    return pl.concat(frames).sort(pl.col("symbol").cast(pl.String), "time")


def known(bar_start: pl.Series) -> pl.Series:
    """When minute bars are known."""
    return (bar_start.dt.epoch("ns") + NS_PER_MINUTE).cast(TIME)
