"""Room for the rows of a stream, filled by whoever reads it, and their way into Polars frames.

Belongs here: the layout of the rows under way, and which column of which table each number becomes. Not here: reading
(`stream_reader.py`, `stream_scanner.py`).
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from tapewatch.feeds.stream_words import WordTable
from tapewatch.market.live_tables import INDEX_VALUES, STREAM_BARS, STREAM_QUOTES, STREAM_TRADES
from tapewatch.market.schema import Table
from tapewatch.market.tables import SYMBOL, TEXT, TIME

#: The kinds of rows that are read without an object each.
TRADE, QUOTE, BAR, VALUE = range(4)
TABLES: Final[tuple[Table, ...]] = (STREAM_TRADES, STREAM_QUOTES, STREAM_BARS, INDEX_VALUES)
#: Integer columns of each kind, by slot; times are int64 ns UTC, symbols and codes are word codes.
INTS: Final[tuple[tuple[str, ...], ...]] = (
    ("symbol", "time", "received_time", "sequence_number", "exchange", "conditions", "trf_id", "trf_time", "tape"),
    (
        "symbol", "time", "received_time", "sequence_number", "bid_exchange", "ask_exchange", "conditions", "indicators",
        "trf_time", "tape",
    ),
    ("symbol", "time", "received_time", "clock", "transactions"),
    ("symbol", "time", "received_time"),
)  # fmt: skip
FLOATS: Final[tuple[tuple[str, ...], ...]] = (
    ("price", "size"),
    ("bid_price", "ask_price", "bid_size", "ask_size"),
    ("open", "high", "low", "close", "volume", "vwap", "average_size", "day_volume"),
    ("value",),
)
NULL_INT: Final = int(np.iinfo(np.int64).min)
CLOCKS: Final = ("1s", "1m")
#: No event that holds all it must is shorter.
SHORTEST_EVENT: Final = 32
_INT_SLOTS: Final = max(map(len, INTS))
_FLOAT_SLOTS: Final = max(map(len, FLOATS))
_FEWEST: Final = 1024


class RowRoom:
    """Arrays for the rows of one round, lent again and again. `counts` says how many of each kind are filled.

    Attributes:
        ints, floats: (kind, slot, row) as `INTS` and `FLOATS` name them; null is `NULL_INT` (any negative for words), NaN.
        offsets, letters: the trades' ids as Arrow keeps texts; an empty one is null.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(len(TABLES), np.int64)
        self._make(0, 0)

    def reset(self, size: int) -> None:
        """Empty the room, and see that it holds whatever `size` bytes of frames may."""
        self.counts[:] = 0
        rows = size // SHORTEST_EVENT + 1
        if rows > self.ints.shape[2] or size > len(self.letters):
            self._make(rows, size)

    def _make(self, rows: int, size: int) -> None:
        rows, kinds = max(rows, _FEWEST), len(TABLES)
        self.ints = np.empty((kinds, _INT_SLOTS, rows), np.int64)
        self.floats = np.empty((kinds, _FLOAT_SLOTS, rows), np.float64)
        self.offsets = np.zeros(rows + 1, np.int64)
        self.letters = np.empty(max(size, _FEWEST), np.uint8)

    def append(self, kind: int, ints: Sequence[int], floats: Sequence[float], text: bytes = b"") -> None:
        """One row, its numbers in slot order."""
        row = int(self.counts[kind])
        self.ints[kind, : len(ints), row] = ints
        self.floats[kind, : len(floats), row] = floats
        if kind == TRADE:
            start = int(self.offsets[row])
            self.letters[start : start + len(text)] = np.frombuffer(text, np.uint8)
            self.offsets[row + 1] = start + len(text)
        self.counts[kind] = row + 1

    def frame(self, kind: int, symbols: WordTable, codes: WordTable) -> pl.DataFrame:
        """The rows of a kind as its table, copied out of the room."""
        table, rows = TABLES[kind], int(self.counts[kind])
        if not rows:
            return table.empty()
        ints = {name: self.ints[kind, slot, :rows] for slot, name in enumerate(INTS[kind])}
        floats = {name: self.floats[kind, slot, :rows] for slot, name in enumerate(FLOATS[kind])}
        columns = []
        for column in table.columns:
            name = column.name
            if name in floats:
                columns.append(_float_column(name, floats[name], is_nullable=column.is_nullable))
            elif name in ("symbol", "conditions", "indicators"):
                columns.append((symbols if name == "symbol" else codes).column(name, ints[name]))
            elif name == "clock":
                columns.append(_CLOCK_WORDS.gather(ints[name]).alias(name))
            elif name in ints:
                columns.append(_int_column(name, ints[name], column.dtype, is_nullable=column.is_nullable))
            elif name == "id":
                columns.append(self._ids(rows))
            else:
                columns.append(pl.Series(name, [None], dtype=column.dtype).new_from_index(0, rows))
        return pl.DataFrame(columns)

    def _ids(self, rows: int) -> pl.Series:
        end = int(self.offsets[rows])
        if not end:
            return pl.Series("id", [None], dtype=TEXT).new_from_index(0, rows)
        offsets: Any = self.offsets[: rows + 1].copy()
        letters: Any = self.letters[:end].copy()
        parts = [None, pa.py_buffer(offsets), pa.py_buffer(letters)]
        ids = pl.Series("id", pa.Array.from_buffers(pa.large_string(), rows, parts))
        return ids.set(ids == "", None) if bool((np.diff(offsets) == 0).any()) else ids


_CLOCK_WORDS: Final = pl.Series(CLOCKS, dtype=SYMBOL)


def _float_column(name: str, values: npt.NDArray[np.float64], *, is_nullable: bool) -> pl.Series:
    series = pl.Series(name, values)
    return series.fill_nan(None) if is_nullable and bool(np.isnan(values).any()) else series


def _int_column(name: str, values: npt.NDArray[np.int64], dtype: pl.DataType, *, is_nullable: bool) -> pl.Series:
    series = pl.Series(name, values)
    if is_nullable and int(values.min()) == NULL_INT:
        series = series.set(series == NULL_INT, None)
    return series.cast(TIME if dtype == TIME else dtype)
