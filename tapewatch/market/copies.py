"""Which copy of a row stays where the vendor delivers one more than once.

Rows that agree in every column of their `identity` are copies of one row. The copy that stays is

1. one from a source of record (REST, a flat file) rather than one from the stream, whose times are coarser;
2. in one delivery of such a source, the trade rather than the records of its correction, which carry its number;
3. otherwise the one that arrived last.

A row with a null in its identity has no copies. Neither has one whose identity is empty: equal rows all stay.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from tapewatch.market.arrays import Array
from tapewatch.market.conditions import FIRST_CORRECTION_RECORD
from tapewatch.market.instruments import Market
from tapewatch.market.live_tables import STREAM_BARS
from tapewatch.market.schema import Table
from tapewatch.market.tables import DELIVERED_BARS, QUOTES, TRADES

#: `delivered_by` of a row from a source of record.
SOURCES_OF_RECORD: Final = ("rest", "flat_files")
#: SQL, for DuckDB and Polars: whether a row is a record about a trade's correction and no trade.
IS_CORRECTION_RECORD: Final = f"coalesce(correction >= {FIRST_CORRECTION_RECORD}, false)"


def is_numbered(table: Table, market: Market) -> bool:
    """Whether the vendor numbers a market's trades or quotes on the stream and in flat files."""
    is_quotes_of_options = table is QUOTES and market is Market.OPTIONS
    return table in (TRADES, QUOTES) and (market in (Market.STOCKS, Market.FUTURES) or is_quotes_of_options)


def identity(table: Table, market: Market, *, has_numbers: bool | None = None) -> tuple[str, ...]:
    """The columns that identify a row of a delivered table; empty where none do.

    Args:
        table: `TRADES`, `QUOTES`, `DELIVERED_BARS`, or a table of the stream.
        market: the market of the rows.
        has_numbers: whether this source states sequence numbers; None for what `is_numbered` says.
    """
    if table in (STREAM_BARS, DELIVERED_BARS):
        return table.key
    if is_numbered(table, market) if has_numbers is None else has_numbers:
        return ("symbol", "sequence_number")
    return ("symbol", "exchange", "id") if table is TRADES and market is Market.CRYPTO else ()


def is_superseded(identities: Sequence[Array]) -> Array:
    """Which rows a later copy replaces: bool, for rows sorted by their identity and then by arrival.

    Args:
        identities: the columns of the identity, all of one length.
    """
    return np.append(np.all([column[1:] == column[:-1] for column in identities], axis=0), [False])
