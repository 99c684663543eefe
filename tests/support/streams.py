"""Streamed rows for tests."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from tapewatch.market.schema import Table
from tapewatch.market.tables.stream import STREAM_BARS, STREAM_QUOTES, STREAM_TRADES


@dataclass
class Batch:
    """Decoded rows for the spool."""

    trades: pl.DataFrame = field(default_factory=STREAM_TRADES.empty)
    quotes: pl.DataFrame = field(default_factory=STREAM_QUOTES.empty)
    bars: pl.DataFrame = field(default_factory=STREAM_BARS.empty)
    others: dict[str, pl.DataFrame] = field(default_factory=dict)


def as_streamed(frame: pl.DataFrame, table: Table = STREAM_TRADES, *, delay_ns: int = 5_000_000) -> pl.DataFrame:
    """Rows of TRADES or QUOTES as the stream delivers them: times cut to milliseconds, received a little later."""
    time = pl.col("time").dt.truncate("1ms")
    rows = frame.with_columns(time, (time + pl.duration(nanoseconds=delay_ns)).alias("received_time"))
    return table.conform(rows)


def trades_at(
    times: Sequence[int],
    *,
    symbol: str = "AAA",
    first_number: int | None = 1,
    price: float = 10.0,
    size: float = 1.0,
    received: int | None = None,
) -> pl.DataFrame:
    """STREAM_TRADES of one symbol at some times (ns), numbered in a row; None leaves them unnumbered."""
    count = len(times)
    return STREAM_TRADES.conform(
        pl.DataFrame(
            {
                "symbol": [symbol] * count,
                "time": times,
                "sequence_number": [None] * count
                if first_number is None
                else list(range(first_number, first_number + count)),
                "price": [price] * count,
                "size": [size] * count,
                "exchange": [4] * count,
                "conditions": [""] * count,
                "id": [str(first_number + i) if first_number is not None else None for i in range(count)],
                "received_time": [received or time for time in times],
            },
            schema_overrides={"sequence_number": pl.Int64, "id": pl.String},
        )
    )
