"""The lake: one Parquet object per table and partition, written whole and swapped in atomically.

Layout: `{root}/{group}/{table}/market={market}/date={date}.parquet`; an unpartitioned table is `{root}/{group}/{table}.parquet`.
Belongs here: layout, atomicity, schema on write, reading by symbol. Not here: what the rows mean.
"""

import datetime as dt
import json
import os
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
from upath import UPath

from tapewatch.market.instruments import Market, Partition
from tapewatch.market.schema import Table

#: A replacement with fewer than this share of the rows it replaces is refused unless asked for.
SHRINK_FLOOR = 0.5
#: Row groups end at a symbol's last row once they hold this many: a symbol is read without its neighbours' bytes.
ROW_GROUP_ROWS = 128 * 1024
_SYMBOL_COUNTS = b"tapewatch.symbols"


class LakeError(RuntimeError):
    """The lake refuses; the message names the partition and the way out."""


class MissingPartitionError(LakeError):
    """A partition that was asked for has not been written."""


class ShrinkError(LakeError):
    """A replacement is suspiciously smaller than what it would replace."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a write put in place."""

    path: str
    rows: int
    bytes: int


class Lake:
    """Reads and writes partitions under a root folder or fsspec URL. Safe for concurrent writers: the last one wins whole."""

    def __init__(self, root: str | Path | UPath) -> None:
        self.root = UPath(root)

    def path(self, table: Table, partition: Partition | None = None) -> UPath:
        """Where a partition's object lies, whether or not it exists."""
        base = self.root / table.group
        if partition is None:
            return base / f"{table.name}.parquet"
        return base / table.name / f"market={partition.market}" / f"date={partition.date}.parquet"

    def exists(self, table: Table, partition: Partition | None = None) -> bool:
        """Whether the partition has been written."""
        return bool(self.path(table, partition).exists())

    def partitions(self, table: Table, market: Market | None = None) -> list[Partition]:
        """The partitions of a table that exist, oldest first."""
        pattern = f"market={market or '*'}/date=*.parquet"
        found = (self.root / table.group / table.name).glob(pattern)
        return sorted(
            Partition(
                dt.date.fromisoformat(p.stem.removeprefix("date=")), Market(p.parent.name.removeprefix("market="))
            )
            for p in found
        )

    def symbols(self, table: Table, partition: Partition) -> dict[str, int]:
        """Rows by symbol, in order, read from the object's footer alone."""
        metadata = self._footer(table, partition).metadata or {}
        return dict(json.loads(metadata.get(_SYMBOL_COUNTS, b"{}")))

    def rows(self, table: Table, partition: Partition | None = None) -> int:
        """How many rows a partition holds, read from its footer alone."""
        return int(self._footer(table, partition).num_rows)

    def scan(self, table: Table, partition: Partition | None = None) -> pl.LazyFrame:
        """A lazy frame over one partition.

        Raises:
            MissingPartitionError: it has not been written.
        """
        path = self._existing(table, partition)
        return pl.scan_parquet(str(path), storage_options=dict(path.storage_options) or None)

    def read(
        self,
        table: Table,
        partition: Partition | None = None,
        *,
        columns: Sequence[str] | None = None,
        symbols: Sequence[str] | None = None,
    ) -> pl.DataFrame:
        """One partition, or the named columns and symbols of it; only the row groups that hold them are read.

        Raises:
            MissingPartitionError: it has not been written.
        """
        lazy = self.scan(table, partition)
        if symbols is not None:
            lazy = lazy.filter(pl.col("symbol").cast(pl.String).is_in(list(symbols)))
        return lazy.select(columns or list(table.schema)).collect()

    def write(
        self,
        table: Table,
        partition: Partition | None,
        frames: pl.DataFrame | Iterable[pl.DataFrame],
        *,
        allow_shrink: bool = False,
    ) -> Written:
        """Replace a partition by `frames`, all or nothing; memory holds one frame at a time.

        Each frame is checked against the table. Together they must be sorted as the table says; a single frame is
        sorted here.

        Raises:
            SchemaError: a frame does not fit the table.
            ShrinkError: the partition would lose more than half its rows and `allow_shrink` is not set.
            LakeError: the frames are out of order.
            OSError: the disk is full or cannot be written. In every case the partition stays as it was.
        """
        if isinstance(frames, pl.DataFrame):
            frames = [table.conform(frames).sort(table.sort)]
        target = self.path(table, partition)
        staged = self._staging_path(target)
        try:
            rows = _write_parquet(table, frames, staged)
            if not allow_shrink:
                self._refuse_shrinking(table, partition, rows)
            size = staged.stat().st_size
            self._swap_in(staged, target)
        finally:
            with suppress(FileNotFoundError):
                staged.unlink()
        return Written(str(target), rows, size)

    def _staging_path(self, target: UPath) -> Path:
        if target.protocol not in ("", "file"):
            return Path(tempfile.gettempdir()) / f"tapewatch-{uuid.uuid4().hex}.parquet"
        target.parent.mkdir(parents=True, exist_ok=True)
        return Path(target.path).parent / f".{target.name}.{uuid.uuid4().hex}.tmp"

    def _swap_in(self, staged: Path, target: UPath) -> None:
        if target.protocol in ("", "file"):
            staged.replace(target.path)
        else:
            # An object store shows an upload only once it is complete.
            target.fs.put_file(str(staged), target.path)

    def _refuse_shrinking(self, table: Table, partition: Partition | None, rows: int) -> None:
        if not self.exists(table, partition):
            return
        before = self.rows(table, partition)
        if rows < before * SHRINK_FLOOR:
            raise ShrinkError(
                f"{self.path(table, partition)} holds {before:,} rows; refusing to replace them by {rows:,}. "
                "If that is right, write again with allow_shrink"
            )

    def _existing(self, table: Table, partition: Partition | None) -> UPath:
        path = self.path(table, partition)
        if not path.exists():
            raise MissingPartitionError(
                f"no {table.group}/{table.name} for {partition or 'any day'}: materialize it first"
            )
        return path

    def _footer(self, table: Table, partition: Partition | None) -> pq.FileMetaData:
        with self._existing(table, partition).open("rb") as stream:
            return pq.read_metadata(stream)


def _write_parquet(table: Table, frames: Iterable[pl.DataFrame], path: Path) -> int:
    schema = table.arrow_schema
    counts: dict[str, int] = {}
    with pq.ParquetWriter(path, schema, compression="zstd", compression_level=1) as writer:
        for group in _row_groups(table, frames, counts):
            writer.write_table(group.to_arrow().cast(schema), row_group_size=group.height)
        if counts:
            writer.add_key_value_metadata({_SYMBOL_COUNTS.decode(): json.dumps(counts)})
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
    return sum(counts.values()) if counts else int(pq.read_metadata(path).num_rows)


def _row_groups(table: Table, frames: Iterable[pl.DataFrame], counts: dict[str, int]) -> Iterator[pl.DataFrame]:
    """Regroup `frames` at symbol boundaries, and count rows by symbol into `counts`."""
    pending: list[pl.DataFrame] = []
    for frame in frames:
        table.check(frame)
        for piece in _split_by_symbol(table, frame, counts):
            pending.append(piece)
            if sum(p.height for p in pending) >= ROW_GROUP_ROWS:
                yield pl.concat(pending)
                pending = []
    if pending:
        yield pl.concat(pending)


def _split_by_symbol(table: Table, frame: pl.DataFrame, counts: dict[str, int]) -> Iterator[pl.DataFrame]:
    if "symbol" not in table.by_name or not frame.height:
        yield frame
        return
    runs = frame.select(pl.col("symbol").rle()).unnest("symbol")
    offset = 0
    for length, symbol in zip(runs["len"], runs["value"].cast(pl.String), strict=True):
        last = next(reversed(counts), None)
        if last is not None and symbol < last:
            raise LakeError(
                f"{table.name}: {symbol} comes after {last}: rows must be sorted by {', '.join(table.sort)}"
            )
        counts[symbol] = counts.get(symbol, 0) + length
        yield frame.slice(offset, length)
        offset += length


def whole_symbol_groups(counts: Sequence[Mapping[str, int]], max_rows: int) -> Iterator[list[str]]:
    """Split symbols into runs whose rows, summed over all `counts`, stay under `max_rows` (a larger symbol stands alone).

    Pass the `Lake.symbols` of each table that is read side by side.
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
