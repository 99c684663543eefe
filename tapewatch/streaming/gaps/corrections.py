"""Whether a source of record states a day otherwise than the lake holds it, because a correction was missed."""

import datetime as dt
from collections.abc import Sequence

import polars as pl

from tapewatch.feeds.plans.table import TapeTable
from tapewatch.market.instruments import Partition, trading_days
from tapewatch.market.schema import Table
from tapewatch.market.tables.tape import BARS, TRADES
from tapewatch.store.lake.lake import Lake

#: Longer than a market is ever closed.
_LONGEST_PAUSE = dt.timedelta(days=14)
_DAY = dt.timedelta(days=1)
_NS_PER_MS = 1_000_000
#: What a correction can change, and what identifies the row. Streams state times in milliseconds.
_COMPARED = {
    TapeTable.TRADES: ("symbol", "time", "price", "size", "exchange", "id", "conditions", "correction"),
    TapeTable.BARS: ("symbol", "time", "open", "high", "low", "close", "volume"),
}
#: The tables that corrections may change; quotes are not corrected.
CORRECTED: dict[TapeTable, Table] = {TapeTable.TRADES: TRADES, TapeTable.BARS: BARS}


def day_before(partition: Partition) -> Partition:
    """The market's day before."""
    earlier = trading_days(partition.market, partition.date - _LONGEST_PAUSE, partition.date - _DAY)
    return Partition(earlier[-1], partition.market)


def held_symbols(lake: Lake, tape: TapeTable, partition: Partition, symbols: Sequence[str]) -> list[str]:
    """Those of the symbols (all, if none are named) of which the lake holds rows of a day."""
    table = CORRECTED[tape]
    there = lake.symbols(table, partition) if lake.exists(table, partition) else {}
    return [symbol for symbol in there if not symbols or symbol in symbols]


def is_as_held(lake: Lake, tape: TapeTable, partition: Partition, symbol: str, stated: pl.DataFrame) -> bool:
    """Whether the lake's rows of a symbol's day are those that the source states, in any order."""
    held = lake.read(CORRECTED[tape], partition, symbols=[symbol])
    return _compared(tape, held).equals(_compared(tape, stated))


def _compared(tape: TapeTable, rows: pl.DataFrame) -> pl.DataFrame:
    names = _COMPARED[tape]
    text = [name for name in ("symbol", "conditions", "id") if name in names]
    found = rows.select(names).with_columns(
        pl.col("time").to_physical() // _NS_PER_MS, *(pl.col(name).cast(pl.String) for name in text)
    )
    if "correction" in names:
        found = found.with_columns(pl.col("correction").fill_null(0))
    return found.sort(names)
