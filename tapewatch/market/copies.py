"""Which copy of a row stays where the vendor delivers one more than once.

Rows that agree in every column of their `identity` are copies of one row; trades of different exchanges or ids are different
trades even if they share a sequence number. The copy that stays is

1. one from a source of record (REST, a flat file) rather than one from the stream, whose times are coarser;
2. in one delivery of such a source, the trade rather than the records of its correction, which carry its number;
3. otherwise the one that arrived last.

Where a number identifies a trade, an id that is null is a value like any other. A row that lacks another part of its identity
has no copies, and a number below 1 is no number: vendors write 0 where they have none. An id that stands alone (crypto) is none
if it is empty or 0. Neither has a row whose identity is empty: equal rows all stay.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl

from tapewatch.market.arrays import Array
from tapewatch.market.conditions import FIRST_CORRECTION_RECORD
from tapewatch.market.instruments import Market
from tapewatch.market.schema import Table
from tapewatch.market.tables.stream import STREAM_BARS
from tapewatch.market.tables.tape import DELIVERED_BARS, QUOTES, TRADES

#: `delivered_by` of a row from a source of record.
SOURCES_OF_RECORD: Final = ("rest", "flat_files")
#: Whether a row states a sequence number.
HAS_NUMBER: Final = (pl.col("sequence_number") > 0).fill_null(value=False)
#: SQL, for DuckDB and Polars: whether a row states an id.
HAS_ID: Final = "coalesce(id NOT IN ('', '0'), false)"
#: The same: whether a row is a record about a trade's correction and no trade.
IS_CORRECTION_RECORD: Final = f"coalesce(correction >= {FIRST_CORRECTION_RECORD}, false)"


def is_numbered(table: Table, market: Market) -> bool:
    """Whether the vendor numbers a market's trades or quotes on the stream and in flat files.

    Futures are not: their number is that of a packet, which several trades share, and their quotes have none on the stream.
    """
    is_quotes_of_options = table is QUOTES and market is Market.OPTIONS
    return table in (TRADES, QUOTES) and (market is Market.STOCKS or is_quotes_of_options)


def identity(table: Table, market: Market) -> tuple[str, ...]:
    """The columns that identify a row of a delivered table; empty where none do.

    Args:
        table: `TRADES`, `QUOTES`, `DELIVERED_BARS`, or a table of the stream.
        market: the market of the rows.
    """
    if table in (STREAM_BARS, DELIVERED_BARS) or is_numbered(table, market):
        return table.key
    return ("symbol", "exchange", "id") if table is TRADES and market is Market.CRYPTO else ()


def has_identity(key: Sequence[str], table: Table, market: Market) -> pl.Expr:
    """Whether a row states what identifies it; `key` is its `identity`, or a part of it."""
    if not key:
        return pl.lit(value=False)
    may_be_null = "id" if is_numbered(table, market) else None
    by_name = {"sequence_number": HAS_NUMBER, "id": pl.sql_expr(HAS_ID)}
    return pl.all_horizontal(by_name.get(name, pl.col(name).is_not_null()) for name in key if name != may_be_null)


def number_the_rest(rows: pl.DataFrame, over: str | None = "symbol") -> pl.DataFrame:
    """`rows`, in order of time, with numbers below zero where they state none: the last such row of a symbol has -1, the one
    before -2, and so on. They cannot collide with the tape's own numbers, and rise with time as those do.

    Args:
        over: the column of the symbol; None where all rows have the same.
    """
    lacks = ~HAS_NUMBER
    if not rows.select(lacks.any()).item():
        return rows
    position, count = lacks.cum_sum().cast(pl.Int64), lacks.sum().cast(pl.Int64)
    number = (position - count - 1) if over is None else (position.over(over) - count.over(over) - 1)
    return rows.with_columns(sequence_number=pl.when(lacks).then(number).otherwise("sequence_number"))


def is_superseded(identities: Sequence[Array]) -> Array:
    """Which rows a later copy replaces: bool, for rows sorted by their identity and then by arrival.

    Args:
        identities: the columns of the identity, all of one length.
    """
    return np.append(np.all([column[1:] == column[:-1] for column in identities], axis=0), [False])
