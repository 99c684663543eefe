"""Runs the compiled scanner over a block and passes its arrays to Polars without copying."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from tapewatch.feeds.files import scanner
from tapewatch.feeds.files.layouts import Binding

LINE = "line"
#: The number of rows is estimated from the block's first bytes, with a margin; if it is too low, a second round follows.
_SAMPLE_BYTES = 16 * 1024
_SPARE = 1.1
_ALIGNMENT = 64
_HUGE_PAGE = 2 * 1024 * 1024
_ANY_INT = int(np.iinfo(np.int64).max)
_LIMITS: dict[pl.DataType, int] = {pl.Int8(): 2**7 - 1, pl.Int16(): 2**15 - 1, pl.Int32(): 2**31 - 1}
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _ColumnKinds:
    """How the scanner reads each column of a file: kind, row in the outputs, largest integer; and the columns per kind."""

    kinds: Ints
    slots: Ints
    limits: Ints
    counts: tuple[int, ...]

    @classmethod
    def of(cls, binding: Binding) -> "_ColumnKinds":
        kinds = [_kind(name in binding.layout.columns, dtype) for name, dtype in binding.parse_schema.items()]
        slots = [kinds[:i].count(kind) for i, kind in enumerate(kinds)]
        limits = [_LIMITS.get(dtype, _ANY_INT) for dtype in binding.parse_schema.dtypes()]
        counts = tuple(kinds.count(kind) for kind in range(scanner.TEXT + 1))
        return cls(np.array(kinds), np.array(slots), np.array(limits), counts)


class _Buffers:
    """The scanner's outputs for one round: new arrays where the frame keeps them, else memory that the thread's next round
    reuses."""

    def __init__(self, plan: _ColumnKinds, rows: int, size: int) -> None:
        _, ints, smalls, floats, words, texts = plan.counts
        self.ints, self.floats = _arrays(_new_memory, [((ints, rows), np.int64), ((floats, rows), np.float64)])
        self.smalls, self.words, self.offsets, self.lines, self.unsure, self.copies = _arrays(
            _reused,
            [
                ((smalls, rows), np.int32), ((words, rows), np.uint32), ((texts, rows + 1), np.int64),
                ((rows,), np.int64), ((rows, 3), np.int64), ((texts, size), np.uint8),
            ],
        )  # fmt: skip
        self.offsets[:, 0] = 0
        self.tables = np.zeros((words, scanner.WORD_SLOTS), np.int32)
        self.keys = np.zeros((words, scanner.MAX_WORDS), np.uint64)
        self.bounds = np.zeros((words, scanner.MAX_WORDS, 2), np.int64)
        self.seen = np.zeros((words, 2), np.int64)
        self.nulls = np.zeros(len(plan.kinds), np.int64)

    def outputs(self) -> tuple[npt.NDArray[Any], ...]:
        """In the order of the scanner's arguments."""
        return (
            self.ints, self.smalls, self.floats, self.words, self.tables, self.keys, self.bounds, self.seen,
            self.offsets, self.copies, self.nulls, self.lines, self.unsure,
        )  # fmt: skip


def _arrays(
    allocate: Callable[[int], npt.NDArray[np.uint8]], shapes: Sequence[tuple[tuple[int, ...], type[np.generic]]]
) -> Iterator[npt.NDArray[Any]]:
    """Empty arrays laid out in one piece."""
    used = [int(np.prod(shape)) * np.dtype(dtype).itemsize for shape, dtype in shapes]
    starts = np.cumsum([0, *(-(-size // _ALIGNMENT) * _ALIGNMENT for size in used)]).tolist()
    piece = allocate(starts[-1])
    for (shape, dtype), start, size in zip(shapes, starts, used, strict=False):
        yield piece[start : start + size].view(dtype).reshape(shape)


def _new_memory(size: int) -> npt.NDArray[np.uint8]:
    """New memory, aligned to huge pages if it fills any: their first touch costs far less than that of small pages."""
    if size < _HUGE_PAGE:
        return np.empty(size, np.uint8)
    room = np.empty((size // _HUGE_PAGE + 2) * _HUGE_PAGE, np.uint8)
    return room[-room.ctypes.data % _HUGE_PAGE :][:size]


_scratch = threading.local()


def _reused(size: int) -> npt.NDArray[np.uint8]:
    """The calling thread's own memory, the same on every call."""
    memory: npt.NDArray[np.uint8] | None = getattr(_scratch, "memory", None)
    if memory is None or len(memory) < size:
        memory = _scratch.memory = _new_memory(size)
    return memory


def scan_lines(
    binding: Binding, block: memoryview, first_line: int
) -> Iterator[tuple[pl.DataFrame, list[bytes], Ints]]:
    """Read a block of whole lines, the last newline included, in one round or a few.

    Yields:
        the rows read (the file's columns and `line`), the text of the lines not read, and their numbers.
    """
    text = np.frombuffer(block, np.uint8)
    plan = _ColumnKinds.of(binding)
    at = 0
    while at < len(text):
        buffers = _Buffers(plan, _room(text[at:], len(plan.kinds)), len(text) - at)
        rows, left, lines, reached = scanner.scan(text, at, plan.kinds, plan.slots, plan.limits, *buffers.outputs())
        unsure = buffers.unsure[:left]
        yield (
            _frame(binding, plan, buffers, block, rows).with_columns(
                _series(LINE, pa.int64(), buffers.lines[:rows] + first_line)
            ),
            [bytes(block[start:end]) for _, start, end in unsure.tolist()],
            unsure[:, 0] + first_line,
        )
        first_line += lines
        at = int(reached)


def empty_rows(binding: Binding) -> pl.DataFrame:
    """No rows, as `scan_lines` gives them."""
    return pl.DataFrame(schema={**binding.parse_schema, LINE: pl.Int64()})


def _kind(is_known: bool, dtype: pl.DataType) -> int:
    if not is_known:
        return scanner.SKIP
    if dtype == pl.Categorical():
        return scanner.WORD
    if dtype == pl.String():
        return scanner.TEXT
    if dtype.is_float():
        return scanner.FLOAT
    return scanner.INT if dtype == pl.Int64() else scanner.SMALL


def _room(text: npt.NDArray[np.uint8], columns: int) -> int:
    sample = text[:_SAMPLE_BYTES]
    lines = int(np.count_nonzero(sample == ord("\n"))) + 1
    # A row has a byte per column at least: many blank lines do not take much memory.
    return min(int(_SPARE * lines * len(text) / len(sample)), len(text) // columns) + 1


def _frame(binding: Binding, plan: _ColumnKinds, buffers: _Buffers, block: memoryview, rows: int) -> pl.DataFrame:
    series = []
    for column, (name, dtype) in enumerate(binding.parse_schema.items()):
        slot, has_nulls = int(plan.slots[column]), bool(buffers.nulls[column])
        match int(plan.kinds[column]):
            case scanner.INT:
                values = _series(name, pa.int64(), buffers.ints[slot, :rows])
                values = values.set(values == scanner.NULL_INT, None) if has_nulls else values
                series.append(values.cast(dtype))
            case scanner.SMALL:
                smalls = buffers.smalls[slot, :rows]
                values = _series(name, pa.int32(), smalls.copy() if dtype == pl.Int32() else smalls)
                values = values.set(values == scanner.NULL_SMALL, None) if has_nulls else values
                series.append(values.cast(dtype))
            case scanner.FLOAT:
                values = _series(name, pa.float64(), buffers.floats[slot, :rows])
                series.append(values.fill_nan(None) if has_nulls else values)
            case scanner.WORD:
                series.append(_words(name, buffers, slot, block, rows))
            case scanner.TEXT:
                values = _texts(name, buffers, slot, rows)
                series.append(values.set(values == "", None) if has_nulls else values)
            case _:
                series.append(pl.Series(name, [None], dtype=dtype).new_from_index(0, rows))
    return pl.DataFrame(series)


def _series(name: str, dtype: pa.DataType, values: npt.NDArray[Any]) -> pl.Series:
    array = pa.Array.from_buffers(dtype, len(values), [None, _buffer(values)])
    return pl.Series(name, array)


def _words(name: str, buffers: _Buffers, slot: int, block: memoryview, rows: int) -> pl.Series:
    bounds = buffers.bounds[slot, 1 : int(buffers.seen[slot, 0]) + 1].tolist()
    words = pl.Series(name, [None, *(bytes(block[start:end]).decode() for start, end in bounds)], dtype=pl.Categorical)
    return words.gather(_series(name, pa.uint32(), buffers.words[slot, :rows]))


def _texts(name: str, buffers: _Buffers, slot: int, rows: int) -> pl.Series:
    # Copied, so that the frame does not keep the unused rest.
    offsets = buffers.offsets[slot, : rows + 1].copy()
    parts = [None, _buffer(offsets), _buffer(buffers.copies[slot, : int(offsets[-1])].copy())]
    return pl.Series(name, pa.Array.from_buffers(pa.large_string(), rows, parts))


def _buffer(values: npt.NDArray[Any]) -> pa.Buffer:
    view: Any = values
    return pa.py_buffer(view)
