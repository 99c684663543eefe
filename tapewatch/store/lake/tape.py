"""Reads a day's tape in batches of whole symbols, so that a day of any size fits in memory."""

from collections.abc import Iterator

import polars as pl

from tapewatch.market.instruments import NS_PER_MINUTE, Partition
from tapewatch.market.tables.tape import BARS, QUOTES, TRADES
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.parquet_file import whole_symbol_groups

#: Trades and quotes of one batch: some 300 MB while they are read and aggregated.
BATCH_ROWS = 4_000_000
#: What the minutes of a symbol's day take, in rows: sums and features of 390 minutes take some 800 kB.
MINUTE_ROWS = 8_000
_TRADE_COLUMNS = ("symbol", "time", "sequence_number", "price", "size", "exchange", "conditions", "correction")
_QUOTE_COLUMNS = ("symbol", "time", "sequence_number", "bid_price", "ask_price", "bid_size", "ask_size")


def symbol_batches(
    lake: Lake, partition: Partition, max_rows: int = BATCH_ROWS, *, all_columns: bool = False
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Trades and quotes of a partition by symbol, in batches of at most `max_rows` rows of both tables.

    A symbol counts `MINUTE_ROWS` rows more, for its day's minutes; one with more than `max_rows` is a batch of its own. The frames hold the columns that bars and features need, or all, sorted
    as their table says. A table that was not written for the partition counts as empty.

    Raises:
        MissingPartitionError: the partition has neither trades nor quotes.
    """
    tables = [table for table in (TRADES, QUOTES) if lake.exists(table, partition)]
    if not tables:
        lake.scan(TRADES, partition)
    counts = [lake.symbols(table, partition) for table in tables]
    counts.append(dict.fromkeys(set().union(*counts), MINUTE_ROWS))
    wanted = [
        (t, list(t.schema) if all_columns else c) for t, c in ((TRADES, _TRADE_COLUMNS), (QUOTES, _QUOTE_COLUMNS))
    ]
    for symbols in whole_symbol_groups(counts, max_rows):
        trades, quotes = (
            lake.read(table, partition, columns=columns, symbols=symbols)
            if table in tables
            else table.empty().select(columns)
            for table, columns in wanted
        )
        yield trades, quotes


def has_ticks(lake: Lake, partition: Partition) -> bool:
    """Whether the partition has any trade or quote."""
    return any(lake.exists(table, partition) and lake.rows(table, partition) for table in (TRADES, QUOTES))


def has_tape(lake: Lake, partition: Partition) -> bool:
    """Whether anything of the partition's tape was loaded, even if it holds no row."""
    return any(lake.exists(table, partition) for table in (TRADES, QUOTES, BARS))


def symbol_ticks(lake: Lake, partition: Partition, symbol: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """One symbol's trades that were not withdrawn, and its quotes; empty where the partition has none."""
    trades, quotes = (
        lake.read(table, partition, symbols=[symbol]) if lake.exists(table, partition) else table.empty()
        for table in (TRADES, QUOTES)
    )
    return trades.filter(pl.col("correction").fill_null(0) <= 1), quotes


def has_symbol(lake: Lake, partition: Partition, symbol: str) -> bool:
    """Whether the partition's tape holds a trade, a quote or a bar of the symbol."""
    return any(
        lake.exists(table, partition) and symbol in lake.symbols(table, partition) for table in (TRADES, QUOTES, BARS)
    )


def tape_start(lake: Lake, partition: Partition) -> int:
    """The first trade, quote or bar of the partition (ns UTC); the day's end if it holds none."""
    tables = [table for table in (TRADES, QUOTES, BARS) if lake.exists(table, partition)]
    firsts = (
        lake.scan(table, partition).select(pl.col("time").min().to_physical()).collect().item() for table in tables
    )
    return min((first for first in firsts if first is not None), default=partition.session.day_end)


def tape_end(lake: Lake, partition: Partition) -> int:
    """End of the last minute (ns UTC) of which the tape holds a trade, a quote or a bar; the day's start if it holds none.

    A tape that is cut off, or still grows, says nothing about the minutes that follow.
    """
    width = {TRADES.name: 0, QUOTES.name: 0, BARS.name: NS_PER_MINUTE - 1}
    tables = (TRADES, QUOTES) if has_ticks(lake, partition) else (BARS,)
    session, last = partition.session, -1
    for table in tables:
        if lake.exists(table, partition):
            newest = lake.scan(table, partition).select(pl.col("time").max().to_physical()).collect().item()
            last = max(last, -1 if newest is None else newest + width[table.name])
    if last < session.day_start:
        return session.day_start
    return min(session.day_end, last - (last - session.day_start) % NS_PER_MINUTE + NS_PER_MINUTE)
