"""The layout of a table in a Parquet file: encodings, row groups of whole symbols, an index of symbols in the footer."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tapewatch.market.instruments import Market
from tapewatch.market.schema import Column, Table
from tapewatch.store.durable import WriteError

#: A row group with this many rows ends with its symbol, so that a symbol is read without many other rows.
ROW_GROUP_ROWS = 128 * 1024
_SYMBOL_COUNTS = b"tapewatch.symbols"
_ZSTD_LEVEL = 1


class DisorderError(ValueError):
    """Frames are not sorted as their table says."""


def symbol_counts(metadata: pq.FileMetaData) -> dict[str, int]:
    """Rows by symbol, in the file's order; empty for a table without symbols."""
    return dict(json.loads((metadata.metadata or {}).get(_SYMBOL_COUNTS, b"{}")))


@dataclass(frozen=True, slots=True)
class Selection:
    """The rows of some symbols: their row groups, and (offset, length) of the rows in these groups laid end to end."""

    groups: list[int]
    slices: list[tuple[int, int]]

    @classmethod
    def of(cls, metadata: pq.FileMetaData, symbols: Iterable[str] | None) -> "Selection":
        """Find the rows of `symbols` through the footer's index; None takes all."""
        if symbols is None:
            return cls(list(range(metadata.num_row_groups)), [(0, metadata.num_rows)])
        wanted = set(symbols)
        counts = symbol_counts(metadata)
        ends = np.cumsum(list(counts.values()), dtype=np.int64).tolist()
        ranges = [(end - n, end) for (name, n), end in zip(counts.items(), ends, strict=True) if name in wanted]
        sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        groups, slices, start, kept = [], [], 0, 0
        for index, size in enumerate(sizes):
            inside = [(max(a, start), min(b, start + size)) for a, b in ranges if a < start + size and b > start]
            if inside:
                groups.append(index)
                slices += [(kept + a - start, b - a) for a, b in inside]
                kept += size
            start += size
        return cls(groups, slices)

    def cut(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The selected rows of a frame that holds the selected groups."""
        if not self.slices:
            return frame.clear()
        first, last = self.slices[0], self.slices[-1]
        if sum(length for _, length in self.slices) == last[0] + last[1] - first[0]:
            # Adjacent rows stay in one chunk, so that kernels do not copy them.
            return frame.slice(first[0], last[0] + last[1] - first[0])
        return pl.concat([frame.slice(offset, length) for offset, length in self.slices])


def whole_symbol_groups(counts: Sequence[Mapping[str, int]], max_rows: int) -> Iterator[list[str]]:
    """Groups of symbols with at most `max_rows` rows over all `counts` (`Lake.symbols` of tables that are read together).

    A symbol with more rows is a group of its own.
    """
    group: list[str] = []
    rows = 0
    for symbol in sorted(set().union(*counts)):
        size = sum(count.get(symbol, 0) for count in counts)
        if group and rows + size > max_rows:
            yield group
            group, rows = [], 0
        group.append(symbol)
        rows += size
    if group:
        yield group


def write_parquet(table: Table, frames: Iterable[pl.DataFrame], path: Path, *, market: Market | None = None) -> int:
    """Write sorted frames of `table` and return the number of rows. A thread encodes while the frames are made.

    Prices are checked against the market's rule if the market is given.

    Raises:
        SchemaError: a frame does not fit the table.
        DisorderError: rows are out of order within or across frames.
        WriteError: the disk is full or cannot be written.
    """
    index = _SymbolIndex(table)
    rows = 0
    pending: Future[None] | None = None
    # The encoder ends first: closing a file while a group is written to it crashes the process.
    with _Writer(path, table.arrow_schema, _encodings(table)) as writer, ThreadPoolExecutor(1, "parquet") as encoder:
        for group in _row_groups(table, _checked(table, frames, market), index):
            rows += group.height
            arrow = _to_arrow(table, group)
            if pending:
                pending.result()
            pending = encoder.submit(writer.write, arrow)
        if pending:
            pending.result()
        if index.counts:
            writer.add_metadata({_SYMBOL_COUNTS.decode(): json.dumps(index.counts)})
    return rows


class _Writer:
    """A Parquet writer that raises WriteError, unlike the source of the frames."""

    def __init__(self, path: Path, schema: pa.Schema, options: dict[str, Any]) -> None:
        try:
            self._writer = pq.ParquetWriter(path, schema, **options)
        except OSError as error:
            raise WriteError(error) from error

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self._writer.close()
        except OSError as error:
            # After a failed write the footer fails as well, with nothing new to report.
            if kind is None:
                raise WriteError(error) from error

    def write(self, group: pa.Table) -> None:
        try:
            self._writer.write_table(group, row_group_size=group.num_rows)
        except OSError as error:
            raise WriteError(error) from error

    def add_metadata(self, metadata: dict[str, str]) -> None:
        self._writer.add_key_value_metadata(metadata)


def _encodings(table: Table) -> dict[str, Any]:
    """Categories by dictionary; times and counters as deltas, uncompressed since their last digits are noise; prices plain,
    since repeated values compress well; other numbers with their bytes split. LZ4 takes half the time of the fastest zstd
    and a seventh more bytes; free text gains from zstd."""
    encodings = {c.name: _encoding(c) for c in table.columns if c.dtype != pl.Categorical()}
    texts = {c.name for c in table.columns if c.dtype == pl.String()}
    deltas = {name for name, encoding in encodings.items() if encoding == "DELTA_BINARY_PACKED"}
    return {
        "use_dictionary": [c.name for c in table.columns if c.dtype == pl.Categorical()],
        "column_encoding": encodings,
        "compression": {
            c.name: "NONE" if c.name in deltas else "ZSTD" if c.name in texts else "LZ4" for c in table.columns
        },
        "compression_level": dict.fromkeys(texts, _ZSTD_LEVEL),
        "write_statistics": list(table.sort),
    }


def _encoding(column: Column) -> str:
    dtype = column.dtype
    if dtype.is_temporal() or dtype == pl.Int64():
        return "DELTA_BINARY_PACKED"
    if dtype in (pl.Int32(), pl.Int16()) or (dtype.is_float() and column.unit != "quote currency"):
        return "BYTE_STREAM_SPLIT"
    return "PLAIN"


class _SymbolIndex:
    """Counts rows by symbol and checks the order of rows."""

    def __init__(self, table: Table) -> None:
        self.counts: dict[str, int] = {}
        self._table = table
        self._then = table.sort[1] if len(table.sort) > 1 and not _is_text(table, table.sort[1]) else None
        self._last: object = None

    def add(self, frame: pl.DataFrame) -> list[tuple[int, bool]]:
        """Count a frame; returns the rows of each of its symbols, and whether the symbol begins in this frame."""
        symbols = frame["symbol"]
        runs = symbols.rle().struct.unnest()
        lengths = runs["len"].to_numpy().astype(np.int64)
        ends: list[int] = np.cumsum(lengths).tolist()
        names = runs["value"].cast(pl.String).to_list()
        before = next(reversed(self.counts), None)
        self._check_symbols(names, before)
        if self._then:
            self._check_within(frame, self._then, ends, continues=names[0] == before)
        for name, length in zip(names, lengths.tolist(), strict=True):
            self.counts[name] = self.counts.get(name, 0) + length
        return [(length, i > 0 or names[0] != before) for i, length in enumerate(lengths.tolist())]

    def _check_symbols(self, names: Sequence[str], before: str | None) -> None:
        previous = before
        for name in names:
            if previous is not None and (name < previous or (name == previous and name in names[1:])):
                self._refuse(f"{name} comes after {previous}")
            previous = name

    def _check_within(self, frame: pl.DataFrame, column: str, ends: list[int], *, continues: bool) -> None:
        values = frame[column].to_physical().to_numpy()
        falls = values[1:] < values[:-1]
        falls[np.array(ends[:-1], dtype=np.int64) - 1] = False
        if falls.any() or (continues and self._last is not None and values[0] < self._last):
            at = int(falls.argmax()) + 1 if falls.any() else 0
            self._refuse(f"{column} goes back at {frame['symbol'][at]}, {frame[column][at]}")
        self._last = values[-1]

    def _refuse(self, what: str) -> None:
        raise DisorderError(f"{what}: rows must be sorted by {', '.join(self._table.sort)}")


def _is_text(table: Table, column: str) -> bool:
    return table.by_name[column].dtype in (pl.Categorical(), pl.String())


def _checked(table: Table, frames: Iterable[pl.DataFrame], market: Market | None) -> Iterator[pl.DataFrame]:
    for frame in frames:
        table.check(frame, market)
        yield frame


def _row_groups(table: Table, frames: Iterable[pl.DataFrame], index: _SymbolIndex) -> Iterator[pl.DataFrame]:
    """Row groups, whatever the size of the frames: a group of `ROW_GROUP_ROWS` or more ends before the next symbol, and any
    group at twice that."""
    pending: list[pl.DataFrame] = []
    waiting = 0
    for frame in frames:
        if not frame.height:
            continue
        runs = index.add(frame) if "symbol" in table.by_name else [(frame.height, False)]
        cuts, waiting = _cuts(runs, waiting)
        start = 0
        for cut in cuts:
            pending.append(frame.slice(start, cut - start))
            yield pl.concat(pending)
            pending, start = [], cut
        pending.append(frame.slice(start))
    if waiting:
        yield pl.concat(pending)


def _cuts(runs: Sequence[tuple[int, bool]], waiting: int) -> tuple[list[int], int]:
    """Where row groups end in a frame, and the rows after the last end; `runs` are (rows, is a new symbol)."""
    cuts: list[int] = []
    at = 0
    for rows, is_new in runs:
        if is_new and waiting >= ROW_GROUP_ROWS:
            cuts.append(at)
            waiting = 0
        end = at + rows
        while waiting + end - at >= 2 * ROW_GROUP_ROWS:
            at += 2 * ROW_GROUP_ROWS - waiting
            cuts.append(at)
            waiting = 0
        waiting += end - at
        at = end
    return cuts, waiting


def _to_arrow(table: Table, group: pl.DataFrame) -> pa.Table:
    """A group in the file's schema. Dictionaries hold the group's words, sorted, so that equal rows give equal bytes."""
    schema = table.arrow_schema
    words = [field.name for field in schema if pa.types.is_dictionary(field.type)]
    plain = group.drop(words).to_arrow()
    arrays = [_dictionary(group[f.name]) if f.name in words else plain.column(f.name) for f in schema]
    return pa.Table.from_arrays([array.cast(f.type) for array, f in zip(arrays, schema, strict=True)], schema=schema)


def _dictionary(values: pl.Series) -> "pa.DictionaryArray[Any, Any]":
    physical = values.to_physical()
    codes = physical.fill_null(0).to_numpy()
    # A row with each word: the first of a run of it.
    is_first = np.append(True, codes[1:] != codes[:-1])
    if values.null_count():
        # The code that replaces null may also be a word's.
        is_known = values.is_not_null().to_numpy()
        is_first = is_known & (is_first | ~np.append(True, is_known[:-1]))
    starts = np.flatnonzero(is_first)
    example = np.full(int(codes.max()) + 1, -1)
    example[codes[starts]] = starts
    used = np.flatnonzero(example >= 0)
    words = values.gather(example[used]).cast(pl.String)
    ranks = np.zeros(example.size, np.uint32)
    ranks[used] = words.arg_sort().arg_sort().to_numpy()
    indices = pl.Series(ranks).gather(physical).to_arrow()
    return pa.DictionaryArray.from_arrays(indices, words.sort().to_arrow())
