"""A small tape and minute features of it that use nothing of the future: what leaks are planted into."""

from collections.abc import Callable
from functools import cache

import polars as pl

from tapewatch.lookahead.computation import Computation, Input, Tape
from tapewatch.market.instruments import NS_PER_MINUTE
from tapewatch.market.tables.tape import QUOTES, TIME, TRADES
from tests.support.tapes import random_tape, stock_session

SYMBOLS = ("AAA", "BBB", "CCC")
FEATURES = ("price", "volume", "spread")
TICKS = (Input(TRADES), Input(QUOTES))
#: Sums of Polars may be added in another order.
ROUNDING = 1e-12
Frames = Callable[[Tape], pl.DataFrame]


@cache
def small_tape() -> Tape:
    """Forty minutes of three symbols, with equal times, ids, and trades that were published up to half a second late."""
    session = stock_session()
    trades, quotes = random_tape(11, SYMBOLS, trades=220, quotes=400, minutes=40)
    delay = pl.duration(milliseconds=pl.col("sequence_number") % 500)
    trades = trades.with_columns(
        id=pl.format("{}-{}", pl.col("symbol").cast(pl.String), "sequence_number"),
        participant_time=pl.col("time") - delay,
    )
    return Tape(session, {"trades": trades, "quotes": quotes}, SYMBOLS, session.day_end)


def minutes(tape: Tape) -> pl.DataFrame:
    """A row for each minute with a trade: last price, volume, trades, mean spread; known at the minute's end."""
    return of_minutes(tape[TRADES], tape[QUOTES])


def of_minutes(trades: pl.DataFrame, quotes: pl.DataFrame, time: str = "time") -> pl.DataFrame:
    """The same of frames, by another column of times if wanted."""
    valid = trades.filter((pl.col("correction") < 7) | pl.col("correction").is_null())
    trade = _by_minute(valid, time).agg(
        price=pl.col("price").last(), volume=pl.col("size").sum(), count=pl.len().cast(pl.Int64)
    )
    quote = _by_minute(quotes, "time").agg(spread=(pl.col("ask_price") - pl.col("bid_price")).mean())
    return (
        trade.join(quote, on=["symbol", "event_time"], how="left")
        .with_columns(known_time=(pl.col("event_time") + pl.duration(minutes=1)).cast(TIME))
        .sort("symbol", "event_time")
        .select("symbol", "event_time", "known_time", "price", "volume", "count", "spread")
    )


def _by_minute(frame: pl.DataFrame, time: str) -> pl.dataframe.group_by.GroupBy:
    start = pl.col(time).to_physical() // NS_PER_MINUTE * NS_PER_MINUTE
    name = pl.col("symbol").cast(pl.String)
    return frame.group_by(name, start.cast(TIME).alias("event_time"), maintain_order=True)


def feature(name: str, rows: Frames, **declared: object) -> Computation:
    """A computation over the small tape's ticks."""
    return Computation(name, TICKS, rows, **{"tolerance": ROUNDING, **declared})


def by_symbol(rows: pl.DataFrame, change: Callable[[pl.DataFrame], pl.DataFrame]) -> pl.DataFrame:
    """`change` applied to the rows of each symbol."""
    parts = [change(part) for part in rows.partition_by("symbol", maintain_order=True)]
    return pl.concat(parts) if parts else rows
