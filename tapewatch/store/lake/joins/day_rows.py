"""The rows of one partition and of the versions that later computations replaced: keys, times, and where they lie."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from upath import UPath

from tapewatch.store.durable import is_local
from tapewatch.store.lake.joins.as_of import is_sorted
from tapewatch.store.lake.parquet_file import Selection, symbol_counts
from tapewatch.store.lake.versions import IS_ROW, UNTIL, versions_path

Ints = npt.NDArray[np.int64]
#: A row that nothing has replaced.
ALWAYS: Final = np.iinfo(np.int64).max
#: Rows of features that are read at a time, unless a row group has more.
_BATCH_ROWS: Final = 500_000


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a table's key and of its two times; without `known` a row is known with its event."""

    keys: tuple[str, ...]
    event: str
    known: str | None

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys([*self.keys, self.event, self.known or self.event]))


@dataclass(frozen=True, slots=True)
class DayRows:
    """Rows by key, event and when they were known. Run k has the key `keys[k]` and the rows `bounds[k]` to `bounds[k + 1]`.

    Times are in ns: each row's event, when it was known, and until when nothing replaced it. `numbers` say where a row is: in
    the partition, or beyond its rows in the versions.
    """

    keys: "pa.Array[Any]"
    bounds: Ints
    event: Ints
    known: Ints
    until: Ints
    numbers: Ints

    @classmethod
    def of(cls, keys: "pa.Array[Any]", codes: Ints, event: Ints, known: Ints, until: Ints, numbers: Ints) -> Self:
        """From rows in any order, whose key is `keys[code]`; a code below 0 stands for none."""
        starts = _starts(codes)
        bounds = np.append(starts, codes.size)
        if np.unique(codes[starts]).size < starts.size or not is_sorted(bounds, event, known):
            order = np.lexsort((known, event, codes))
            codes, event, known, until, numbers = (each[order] for each in (codes, event, known, until, numbers))
            starts = _starts(codes)
            bounds = np.append(starts, codes.size)
        own: Any = pa.array(codes[starts], mask=codes[starts] < 0)
        return cls(keys.take(own), bounds, event, known, until, numbers)

    def runs_of(self, keys: "pa.Array[Any]") -> Ints:
        """The run of each key; -1 where there is none."""
        found = pc.index_in(keys, value_set=self.keys.cast(keys.type))
        return np.asarray(found.fill_null(-1).to_numpy(zero_copy_only=False), np.int64)


class Day:
    """An open partition and, if it has any, the versions of its rows."""

    def __init__(self, path: UPath, stack: ExitStack) -> None:
        self._now = _opened(path, stack)
        # After the partition: its rows count from when the versions say that they replaced others.
        versions = versions_path(path)
        self._versions = _opened(versions, stack) if versions.exists() else None
        self.names: list[str] = self._now.schema_arrow.names

    def rows(self, columns: Columns, keys: "pa.Array[Any] | None" = None, *, as_known: bool = True) -> DayRows:
        """The rows, at least those of some keys; the table must have the columns.

        `as_known=False` gives the newest version of each row, known with its event.
        """
        groups = self._groups(columns, keys)
        table, numbers = (
            self._now.read_row_groups(groups, columns.names, use_threads=False),
            _numbers(self._now, groups),
        )
        if as_known and self._versions is not None:
            return _with_versions(
                table, numbers, self._versions.read([*columns.names, UNTIL, IS_ROW]), columns, self.height
            )
        texts, codes = _coded(table, columns.keys)
        event, known = _ns(table, columns.event), _ns(table, columns.known or columns.event)
        found = DayRows.of(texts, codes, event, known, np.full(codes.size, ALWAYS), numbers)
        return (
            found
            if as_known
            else DayRows(found.keys, found.bounds, found.event, found.event, found.until, found.numbers)
        )

    def take(self, numbers: Ints, names: Sequence[str]) -> Iterator[pa.Table]:
        """Columns of chosen rows, in parts, in the order of `numbers`, which ascend; words as text."""
        split = int(np.searchsorted(numbers, self.height))
        for groups, first, part in _batches(self._now.metadata, numbers[:split]):
            read = self._now.read_row_groups(groups, list(names), use_threads=False)
            yield _plain(read.take(part - first))
        if split < numbers.size and self._versions is not None:
            yield _plain(self._versions.read(list(names)).take(numbers[split:] - self.height))

    @property
    def height(self) -> int:
        """Rows of the partition."""
        return int(self._now.metadata.num_rows)

    def _groups(self, columns: Columns, keys: "pa.Array[Any] | None") -> list[int]:
        metadata = self._now.metadata
        if keys is None or columns.keys != ("symbol",) or not symbol_counts(metadata):
            return list(range(metadata.num_row_groups))
        return Selection.of(metadata, map(str, keys.to_pylist())).groups


def key_texts(columns: Sequence[Any], rows: int) -> "pa.Array[Any]":
    """Keys of any number of columns as one text each."""
    if not columns:
        return pa.array([""] * rows, pa.large_string())
    texts = [column.cast(pa.large_string()) for column in columns]
    joined = texts[0] if len(texts) == 1 else pc.binary_join_element_wise(*texts, pa.scalar("\x1f", pa.large_string()))
    return joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined


def _with_versions(table: pa.Table, numbers: Ints, versions: pa.Table, columns: Columns, height: int) -> DayRows:
    """The rows of a partition and their versions: each counts from when it replaced the one before it."""
    both = pa.concat_tables(
        [_plain(part.select(columns.names)) for part in (table, versions)], promote_options="permissive"
    )
    texts, codes = _coded(both, columns.keys)
    event, known = _ns(both, columns.event), _ns(both, columns.known or columns.event)
    until = np.append(np.full(numbers.size, ALWAYS), _ns(versions, UNTIL))
    is_row = np.append(np.full(numbers.size, fill_value=True), versions[IS_ROW].to_numpy())
    numbers = np.append(numbers, height + np.arange(versions.num_rows))
    order = np.lexsort((until, event, codes))
    codes, event, known, until, is_row, numbers = (
        each[order] for each in (codes, event, known, until, is_row, numbers)
    )
    follows = np.append(False, (codes[1:] == codes[:-1]) & (event[1:] == event[:-1]))[: codes.size]
    known = np.where(follows, np.maximum(known, np.roll(until, 1)), known)
    return DayRows.of(texts, *(each[is_row] for each in (codes, event, known, until, numbers)))


def _coded(table: pa.Table, keys: Sequence[str]) -> "tuple[pa.Array[Any], Ints]":
    """The distinct keys, and which of them each row has; -1 for null."""
    if not keys:
        return pa.array([""], pa.large_string()), np.zeros(table.num_rows, np.int64)
    column = table[keys[0]] if len(keys) == 1 else key_texts([table[key] for key in keys], table.num_rows)
    is_coded = pa.types.is_dictionary(column.type)
    words: Any = column if is_coded else column.dictionary_encode()
    if isinstance(words, pa.ChunkedArray):
        words = words.unify_dictionaries().combine_chunks()
    codes = words.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    return words.dictionary.cast(pa.large_string()), codes


def _starts(codes: Ints) -> Ints:
    """Where runs of equal codes begin."""
    return np.flatnonzero(np.append(True, codes[1:] != codes[:-1])[: codes.size])


def _ns(table: pa.Table, name: str) -> Ints:
    """Times as ns since the epoch; those without a zone are in UTC."""
    column = table[name]
    unit = pa.timestamp("ns", column.type.tz)
    return np.ascontiguousarray(column.cast(unit).cast(pa.int64()).to_numpy())


def _plain(table: pa.Table) -> pa.Table:
    """Without dictionaries, of which each object has its own."""
    for at, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(at, field.name, table.column(at).cast(pa.large_string()))
    return table


def _opened(path: UPath, stack: ExitStack) -> pq.ParquetFile:
    if is_local(path):
        return stack.enter_context(pq.ParquetFile(path.path, memory_map=True))
    return stack.enter_context(pq.ParquetFile(stack.enter_context(path.open("rb")), pre_buffer=True))


def _numbers(file: pq.ParquetFile, groups: Sequence[int]) -> Ints:
    """The numbers of the rows of some row groups."""
    sizes = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
    ends = np.cumsum(sizes, dtype=np.int64)
    return np.concatenate([np.arange(0), *(np.arange(ends[each] - sizes[each], ends[each]) for each in groups)])


def _batches(metadata: pq.FileMetaData, rows: Ints) -> Iterator[tuple[list[int], int, Ints]]:
    """Adjacent row groups that are read together, the number of their first row, and which of `rows` (sorted) they hold."""
    sizes = np.array([metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)], np.int64)
    ends = np.cumsum(sizes)
    bounds = np.append(0, np.searchsorted(rows, ends))
    needed = np.flatnonzero(np.diff(bounds)).tolist()
    groups: list[int] = []
    for index in [*needed, None]:
        is_adjacent = groups and index == groups[-1] + 1
        if groups and (index is None or not is_adjacent or sizes[groups].sum() + sizes[index] > _BATCH_ROWS):
            first = groups[0]
            yield groups, int(ends[first] - sizes[first]), rows[bounds[first] : bounds[groups[-1] + 1]]
            groups = []
        if index is not None:
            groups.append(index)
