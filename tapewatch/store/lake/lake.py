"""The lake: one Parquet object per table and partition, written whole and swapped in atomically.

Layout: `{root}/{group}/{table}/market={market}/date={date}/part.parquet`, as Hive lays out partitions; an unpartitioned table
is `{root}/{group}/{table}.parquet`. Pages about a partition are in `{root}/{group}/pages`, staged files in
`{root}/{group}/.staging`: a table's folder holds its objects alone, since Polars reads every file of a folder. Versions of features
that were computed again are beside it too (`versions.py`).
"""

import datetime as dt
import errno
import hashlib
import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from tapewatch.market.instruments import Market, Partition
from tapewatch.market.schema import Table
from tapewatch.store.durable import Staging, WriteError, is_local, is_of_object_store
from tapewatch.store.lake.parquet_file import DisorderError, Selection, symbol_counts, write_parquet
from tapewatch.store.lake.versions import forget, keep_superseded

#: The name of a partition's object.
OBJECT = "part.parquet"
#: The footer's entry of an object that was copied within an object store: when it was written first, ns.
WRITTEN_NS = b"tapewatch.written_ns"
#: A replacement with a smaller share of the old rows is refused unless `allow_shrink` is set.
SHRINK_FLOOR = 0.5


class LakeError(RuntimeError):
    """A partition cannot be read or written; the message names it and the way out."""


class MissingPartitionError(LakeError):
    """The partition has not been written."""


class LayoutError(LakeError):
    """The lake is laid out as by an earlier Tapewatch; the message names the command that moves its objects."""


class ShrinkError(LakeError):
    """A replacement has less than half the rows of the partition."""


@dataclass(frozen=True, slots=True)
class Written:
    """The object that a write put in place."""

    path: str
    rows: int
    bytes: int


class Lake:
    """Reads and writes partitions under a root folder or fsspec URL. Safe for concurrent writers: the last one wins whole."""

    def __init__(self, root: str | Path | UPath) -> None:
        # Other processes write too: a kept listing of a bucket would hide their objects.
        is_s3 = str(root).startswith("s3:")
        self.root = UPath(str(root), use_listings_cache=False) if is_s3 else UPath(root)

    def path(self, table: Table, partition: Partition | None = None) -> UPath:
        """Path of a partition's object, whether or not it exists."""
        if partition is None:
            return self.root.joinpath(table.group, f"{table.name}.parquet")
        days = f"market={partition.market}", f"date={partition.date}"
        return self.root.joinpath(table.group, table.name, *days, OBJECT)

    def page(self, table: Table, partition: Partition | None = None) -> UPath:
        """Path of the HTML page about a partition, or about an unpartitioned table, whether or not it exists."""
        of_day = f"-{partition.market}-{partition.date}" if partition else ""
        return self.root / table.group / "pages" / f"{table.name}{of_day}.html"

    def exists(self, table: Table, partition: Partition | None = None) -> bool:
        """Whether the partition has been written.

        Raises:
            LayoutError: it has, by an earlier Tapewatch.
        """
        with self._answering():
            if self.path(table, partition).exists():
                return True
            self._refuse_old_layout(table, partition)
            return False

    def partitions(self, table: Table, market: Market | None = None) -> list[Partition]:
        """The partitions of a table that exist, oldest first.

        Raises:
            LayoutError: an earlier Tapewatch wrote some of them.
        """
        folder = self.root / table.group / table.name
        if is_local(folder):
            return sorted(day for each in ([market] if market else Market) for day in self._local_days(folder, each))
        of_market = f"market={market or '*'}"
        self._refuse(next(iter(folder.glob(f"{of_market}/date=*.parquet")), None))
        return sorted(
            Partition(
                dt.date.fromisoformat(path.parent.name.removeprefix("date=")),
                Market(path.parent.parent.name.removeprefix("market=")),
            )
            for path in folder.glob(f"{of_market}/date=*/{OBJECT}")
        )

    def _local_days(self, folder: UPath, market: Market) -> Iterator[Partition]:
        """A market's partitions on a disk, in any order; ten years of them in some milliseconds."""
        place = os.path.join(folder.path, f"market={market}")  # noqa: PTH118 - paths as objects cost ten times as much
        names = os.listdir(place) if os.path.isdir(place) else []  # noqa: PTH112, PTH208
        for name in names:
            date = name.removeprefix("date=")
            if date == name:
                continue
            if date.endswith(".parquet"):
                self._refuse(folder / f"market={market}" / name)
            elif os.path.exists(f"{place}/{name}/{OBJECT}"):  # noqa: PTH110
                yield Partition(dt.date.fromisoformat(date), market)

    def check_layout(self) -> None:
        """Raise a LayoutError if an earlier Tapewatch wrote any partition of any table."""
        self._refuse(next(iter(self.root.glob("*/*/market=*/date=*.parquet")), None))

    def written_ns(self, table: Table, partition: Partition) -> int:
        """When a partition was written, in nanoseconds since the epoch, UTC.

        Raises:
            MissingPartitionError: it has not been written.
        """
        path = self._existing(table, partition)
        if is_local(path):
            return round(path.stat().st_mtime * 1e9)
        # A copy within an object store is dated when it was copied.
        first = (self._footer(table, partition).metadata or {}).get(WRITTEN_NS)
        return int(first) if first else round(path.fs.modified(path.path).timestamp() * 1e9)

    def symbols(self, table: Table, partition: Partition | None = None) -> dict[str, int]:
        """Rows by symbol, in order; only the object's footer is read."""
        return symbol_counts(self._footer(table, partition))

    def rows(self, table: Table, partition: Partition | None = None) -> int:
        """Number of rows of a partition; only its footer is read."""
        return int(self._footer(table, partition).num_rows)

    def digest(self, table: Table, partition: Partition | None = None) -> str:
        """SHA-256 of a partition's object: equal rows are written as equal bytes.

        Raises:
            MissingPartitionError: it has not been written.
        """
        with self._existing(table, partition).open("rb") as stream:
            return hashlib.file_digest(cast("Any", stream), "sha256").hexdigest()

    def scan(self, table: Table, partition: Partition | None = None) -> pl.LazyFrame:
        """A lazy frame of one partition. Unlike `read`, it may see two states if the partition is replaced meanwhile.

        Raises:
            MissingPartitionError: it has not been written.
        """
        path = self._existing(table, partition)
        if is_local(path):
            return pl.scan_parquet(path.path, glob=False)
        import pyarrow.dataset as ds  # noqa: PLC0415 - imports pandas, and few lakes are in a bucket

        return pl.scan_pyarrow_dataset(ds.dataset(path.path, filesystem=path.fs, format="parquet"))

    def read(
        self,
        table: Table,
        partition: Partition | None = None,
        *,
        columns: Sequence[str] | None = None,
        symbols: Sequence[str] | None = None,
    ) -> pl.DataFrame:
        """One partition, or some columns and symbols of it; only their row groups are read.

        Raises:
            MissingPartitionError: it has not been written.
        """
        names = list(columns or table.schema)
        with self._answering():
            path = self._existing(table, partition)
            try:
                return self._read(table, open_object(path), names, symbols)
            except OSError as error:
                if is_local(path) or error.errno != errno.EBUSY:
                    raise
            # Replaced while it was read, and an object store keeps no old object for its readers: one answer holds a whole.
            return self._read(table, pa.BufferReader(path.fs.cat_file(path.path)), names, symbols)

    def _read(self, table: Table, opened: Any, names: list[str], symbols: Sequence[str] | None) -> pl.DataFrame:
        # One handle for footer and rows: if the partition is replaced meanwhile, the old one is read.
        with opened as stream, pq.ParquetFile(stream, pre_buffer=True) as file:
            selection = Selection.of(file.metadata, symbols)
            groups = file.read_row_groups(selection.groups, columns=names)
        frame, schema = pl.DataFrame(groups), table.schema
        if frame.schema != pl.Schema({name: schema[name] for name in names}):
            # An object may be older than a nullable column.
            later = [c for c in table.columns if c.name in names and c.name not in frame.columns and c.is_nullable]
            frame = frame.with_columns(pl.lit(None, column.dtype).alias(column.name) for column in later)
            frame = frame.select(pl.col(name).cast(schema[name]) for name in names)
        return selection.cut(frame)

    def write(
        self,
        table: Table,
        partition: Partition | None,
        frames: pl.DataFrame | Iterable[pl.DataFrame],
        *,
        allow_shrink: bool = False,
    ) -> Written:
        """Replace a partition by `frames`, all or nothing, with a few frames in memory at a time.

        Each frame is checked against the table and the market. Several frames must be sorted as the table says; a single frame
        is sorted here.

        Raises:
            SchemaError: a frame does not fit the table.
            LayoutError: an earlier Tapewatch wrote the partition.
            ShrinkError: the partition would lose more than half its rows and `allow_shrink` is not set.
            LakeError: the frames are out of order, or the disk is full or cannot be written.

        On an error the partition stays as it was.
        """
        if isinstance(frames, pl.DataFrame):
            frames = [table.conform(frames).sort(table.sort)]
        target = self.path(table, partition)
        try:
            with self._answering(), self._staging(table, target) as staging:
                self._refuse_old_layout(table, partition)
                rows = write_parquet(table, frames, staging.path, market=partition.market if partition else None)
                if not allow_shrink:
                    self._refuse_shrinking(table, partition, rows)
                if table.is_versioned:
                    keep_superseded(table, target, staging.path)
                return Written(str(target), rows, staging.swap_in())
        except DisorderError as error:
            raise LakeError(f"{table.group}/{table.name} for {partition or 'any day'}: {error}") from error
        except WriteError as error:
            raise LakeError(
                f"cannot write {table.group}/{table.name} for {partition or 'any day'} to {target}: {error}; "
                "the partition stays as it was"
            ) from error

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Turns what a client of an object store raises without an answer into a LakeError."""
        try:
            yield
        except Exception as error:
            if is_local(self.root) or not is_of_object_store(error):
                raise
            raise LakeError(
                f"the lake {self.root} does not answer ({error}): check the network, AWS_ENDPOINT_URL and the credentials; "
                "its objects are whole, and the same run can be started again"
            ) from error

    def remove(self, table: Table, partition: Partition | None) -> None:
        """Delete a partition if it exists, with the versions of its rows."""
        if table.is_versioned:
            forget(self.path(table, partition))
        with suppress(FileNotFoundError):
            self.path(table, partition).unlink()

    def _refuse_shrinking(self, table: Table, partition: Partition | None, rows: int) -> None:
        if not self.exists(table, partition):
            return
        before = self.rows(table, partition)
        if rows < before * SHRINK_FLOOR:
            raise ShrinkError(
                f"{self.path(table, partition)} holds {before:,} rows; refusing to replace them by {rows:,}. "
                "If that is right, write again with allow_shrink"
            )

    def _staging(self, table: Table, target: UPath) -> Staging:
        folder = self.root / table.group / table.name
        if not is_local(folder):
            return Staging(target)
        # The table's folder may be a link to another disk, where the staged file has to lie too.
        group = Path(os.path.realpath(folder.path)).parent
        return Staging(
            target, group / ".staging" / ".".join((table.name, *target.relative_to(folder.parent).parts[1:]))
        )

    def _refuse_old_layout(self, table: Table, partition: Partition | None) -> None:
        if partition is not None:
            folder = self.path(table, partition).parent
            old = folder.with_name(f"{folder.name}.parquet")
            self._refuse(old if old.exists() else None)

    def _refuse(self, old: UPath | None) -> None:
        if old is not None:
            raise LayoutError(
                f"the lake {self.root} is laid out as by an earlier Tapewatch ({old.parent.name}/{old.name}): "
                f"run `tapewatch lake migrate {shlex.quote(str(self.root))}` once"
            )

    def _existing(self, table: Table, partition: Partition | None) -> UPath:
        path = self.path(table, partition)
        with self._answering():
            if path.exists():
                return path
        self._refuse_old_layout(table, partition)
        raise MissingPartitionError(f"no {table.group}/{table.name} for {partition or 'any day'}: materialize it first")

    def _footer(self, table: Table, partition: Partition | None) -> pq.FileMetaData:
        path = self._existing(table, partition)
        try:
            with path.open("rb") as stream:
                return pq.read_metadata(stream)
        except OSError as error:
            if is_local(path) or error.errno != errno.EBUSY:
                raise
        # As in `read`.
        return pq.read_metadata(pa.BufferReader(path.fs.cat_file(path.path)))


def open_object(path: UPath) -> Any:
    """An object for reading, at any place in it."""
    return pa.OSFile(path.path, "rb") if is_local(path) else path.open("rb")
