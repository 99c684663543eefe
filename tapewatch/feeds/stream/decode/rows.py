"""Reusable arrays for the rows of a stream, and their conversion to Polars frames."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from tapewatch.feeds.stream.decode.words import WordTable
from tapewatch.market.schema import Column, Table
from tapewatch.market.tables.stream import INDEX_VALUES, STREAM_BARS, STREAM_QUOTES, STREAM_TRADES
from tapewatch.market.tables.tape import SYMBOL

#: The kinds of rows that are read into arrays, without an object each.
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
#: No event with all required fields is shorter.
SHORTEST_EVENT: Final = 32
_INT_SLOTS: Final = max(map(len, INTS))
_FLOAT_SLOTS: Final = max(map(len, FLOATS))
_FEWEST: Final = 1024
_MOST_PASSED: Final = 4096


class RowRoom:
    """Arrays for the rows of one round, reused in the next. `counts` holds the number of rows of each kind.

    Attributes:
        ints, floats: (kind, slot, row) as `INTS` and `FLOATS` name them; null is `NULL_INT` (any negative for words), NaN.
        passed: events that the scanner skipped in one frame. counts_before: `counts` before that frame.
        offsets, letters: the trades' ids as Arrow stores texts; an empty one is null.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(len(TABLES), np.int64)
        self.counts_before = self.counts.copy()
        self.passed = np.empty((_MOST_PASSED, 3), np.int64)
        self._staged: list[list[tuple[Sequence[int], Sequence[float], bytes]]] = [[] for _ in TABLES]
        self._make(0, 0)

    def reset(self, size: int) -> None:
        """Empty the arrays, and make them large enough for `size` bytes of frames."""
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

    def outputs(self) -> tuple[npt.NDArray[Any], ...]:
        """In the order of the scanner's arguments."""
        return self.ints, self.floats, self.offsets, self.letters, self.counts

    def append(self, kind: int, ints: Sequence[int], floats: Sequence[float], text: bytes = b"") -> None:
        """Add one row, its numbers in slot order; `settle` moves it into the arrays."""
        self._staged[kind].append((ints, floats, text))

    def settle(self) -> None:
        """Move the appended rows into the arrays."""
        for kind, staged in enumerate(self._staged):
            if not staged:
                continue
            start, end = int(self.counts[kind]), int(self.counts[kind]) + len(staged)
            self.ints[kind, : len(INTS[kind]), start:end] = np.array([ints for ints, _, _ in staged], np.int64).T
            self.floats[kind, : len(FLOATS[kind]), start:end] = np.array([floats for _, floats, _ in staged]).T
            if kind == TRADE:
                text = b"".join(text for _, _, text in staged)
                first = int(self.offsets[start])
                sizes = np.fromiter((len(text) for _, _, text in staged), np.int64, len(staged))
                self.offsets[start + 1 : end + 1] = first + np.cumsum(sizes)
                self.letters[first : first + len(text)] = np.frombuffer(text, np.uint8)
            self.counts[kind] = end
            staged.clear()

    def frame(self, kind: int, symbols: WordTable, codes: WordTable) -> pl.DataFrame:
        """The rows of a kind as its table, copied."""
        rows = int(self.counts[kind])
        ints = {name: self.ints[kind, slot, :rows] for slot, name in enumerate(INTS[kind])}
        floats = {name: self.floats[kind, slot, :rows] for slot, name in enumerate(FLOATS[kind])}
        arrays = [
            _floats(floats[field.name], is_nullable=field.nullable) if field.name in floats
            else self._ids(rows) if field.name == "id"
            else _ints(ints[field.name], field.type, is_nullable=field.nullable) if field.name in ints
            else pa.nulls(rows, field.type)
            for field in _PLAIN[kind]
        ]  # fmt: skip
        frame = pl.DataFrame(pa.RecordBatch.from_arrays(arrays, schema=_PLAIN[kind]))
        for place, name in _WORDS[kind]:
            words = symbols if name == "symbol" else _CLOCK_WORDS if name == "clock" else codes
            frame.insert_column(place, words.column(name, ints[name]))
        return frame

    def _ids(self, rows: int) -> "pa.Array[Any]":
        offsets = self.offsets[: rows + 1].copy()
        is_given = offsets[1:] > offsets[:-1]
        parts = [_bitmap(is_given), _buffer(offsets), _buffer(self.letters[: offsets[-1]].copy())]
        return pa.Array.from_buffers(pa.large_string(), rows, parts)


def _floats(values: npt.NDArray[np.float64], *, is_nullable: bool) -> "pa.Array[Any]":
    is_given = ~np.isnan(values) if is_nullable else None
    return pa.Array.from_buffers(pa.float64(), len(values), [_bitmap(is_given), _buffer(values.copy())])


def _ints(values: npt.NDArray[np.int64], dtype: pa.DataType, *, is_nullable: bool) -> "pa.Array[Any]":
    is_given = values != NULL_INT if is_nullable else None
    narrow = values.astype(f"i{dtype.bit_width // 8}")
    return pa.Array.from_buffers(dtype, len(values), [_bitmap(is_given), _buffer(narrow)])


def _bitmap(is_given: npt.NDArray[np.bool_] | None) -> pa.Buffer | None:
    """Arrow's validity bitmap; None if all rows have a value."""
    if is_given is None or bool(is_given.all()):
        return None
    return _buffer(np.packbits(is_given, bitorder="little"))


def _buffer(values: npt.NDArray[Any]) -> pa.Buffer:
    view: Any = values
    return pa.py_buffer(view)


def _is_word(column: Column) -> bool:
    return column.dtype == SYMBOL


_CLOCK_WORDS: Final = WordTable(str)
for _clock in CLOCKS:
    _CLOCK_WORDS.code(_clock)
#: By kind: the columns made by Arrow, and the places and names of the columns of words.
_PLAIN: Final = tuple(
    pa.schema([field for field in table.arrow_schema if not _is_word(table.by_name[field.name])]) for table in TABLES
)
_WORDS: Final = tuple(
    tuple((place, column.name) for place, column in enumerate(table.columns) if _is_word(column)) for table in TABLES
)
