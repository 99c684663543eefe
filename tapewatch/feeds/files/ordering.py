"""Sorts a file's rows into their table's order, each key once, in constant memory.

Nearly every file is in order already: its rows pass through a spool (memory first, then disk) that checks this. DuckDB sorts
the others on disk.
"""

import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
import polars as pl
import pyarrow as pa

from tapewatch.feeds.files.columns import LINE
from tapewatch.feeds.files.layouts import Layout
from tapewatch.market.copies import HAS_ID, IS_CORRECTION_RECORD
from tapewatch.market.instruments import Market

if TYPE_CHECKING:
    import duckdb

#: Bytes of parsed rows held in memory before the spool goes to disk.
MEMORY_BYTES = 144 * 1024 * 1024
_SORT_MEMORY = "256MB"
_BATCH_ROWS = 64 * 1024
#: As `market.copies.number_the_rest`.
_NUMBER_THE_REST = """
    UPDATE spool SET sequence_number = unnumbered.number
    FROM (
        SELECT line, row_number() OVER (PARTITION BY symbol ORDER BY {order}, line)
            - count(*) OVER (PARTITION BY symbol) - 1 AS number
        FROM spool ANTI JOIN dropped USING (line) WHERE sequence_number <= 0
    ) unnumbered
    WHERE spool.line = unnumbered.line
"""


@dataclass(frozen=True, slots=True)
class Conflict:
    """A row whose key comes again, later in the file and with different content."""

    line: int
    kept_line: int


class OrderWatch:
    """Checks, frame by frame, whether rows are in their table's order without a repeated key."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._last: pl.DataFrame | None = None
        # A re-delivered row may be anywhere in the symbol's day, which the order alone would not show.
        self.is_in_order = not layout.redelivery

    def see(self, frame: pl.DataFrame) -> None:
        """Check the next rows of the file."""
        if not self.is_in_order or not frame.height:
            return
        keys = frame.select("symbol", *self._layout.order)
        if self._last is not None:
            keys = pl.concat([self._last, keys])
        self._last = keys.tail(1)
        self.is_in_order = self._symbols_ascend(keys) and self._rows_ascend(keys)

    def _symbols_ascend(self, keys: pl.DataFrame) -> bool:
        codes = keys["symbol"].to_physical().to_numpy()
        starts = np.flatnonzero(codes[1:] != codes[:-1]) + 1
        names = keys["symbol"].gather([0, *starts.tolist()]).cast(pl.String)
        return bool((names.shift(-1) > names).all())

    def _rows_ascend(self, keys: pl.DataFrame) -> bool:
        codes = keys["symbol"].to_physical().to_numpy()
        undecided = codes[1:] == codes[:-1]
        falls = np.zeros_like(undecided)
        for name in self._layout.order:
            values = keys[name].to_physical().to_numpy()
            falls |= undecided & (values[1:] < values[:-1])
            undecided &= values[1:] == values[:-1]
        if self._layout.is_numbered:
            # Numbers must rise with time; rows that are equal in the whole order, or numbered against it, may repeat a key.
            last = keys[self._layout.order[-1]].to_physical().to_numpy()
            falls |= (codes[1:] == codes[:-1]) & (last[1:] <= last[:-1])
            if self._layout.order[-1] == "sequence_number" and last.min() <= 0:
                # Rows without a number still need one.
                return False
        return not falls.any()


class RowBuffer:
    """A context manager that holds the rows of one file until its end is read: in memory up to a limit, then on disk."""

    def __init__(self, layout: Layout, memory_bytes: int = MEMORY_BYTES) -> None:
        self._layout = layout
        self._held: deque[pl.DataFrame | Path] = deque()
        self._room = memory_bytes
        self._folder = tempfile.TemporaryDirectory(prefix="tapewatch-spool-")
        self._watch = OrderWatch(layout)
        self.duplicates = 0
        self.conflicts: list[Conflict] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.clear()
        self._folder.cleanup()

    def add(self, frame: pl.DataFrame) -> None:
        """Add the file's next rows: table columns and `line`."""
        self._watch.see(frame)
        size = int(frame.estimated_size())
        if size <= self._room:
            self._room -= size
            self._held.append(frame)
            return
        self._room = 0
        path = Path(self._folder.name) / f"{len(self._held)}.arrow"
        frame.write_ipc(path, compression="uncompressed")
        self._held.append(path)

    def drain(self, settle: Callable[[], None] = lambda: None) -> Iterator[pl.DataFrame]:
        """The rows in the table's order, each key once; rows without sequence numbers are numbered by position, those of a
        numbered file below zero.

        `market.copies` says which row of one key stays. `duplicates` counts the rows dropped that equal it, `conflicts`
        names the others; `settle` is called once both are final, before the first frame.
        """
        frames = self._replay() if self._watch.is_in_order else self._sorted(settle)
        frames = (frame.select(self._layout.table.schema.names()) for frame in frames)
        if "sequence_number" in self._layout.table.schema and not self._layout.is_numbered:
            frames = _numbered(frames)
        yield from frames

    def _replay(self) -> Iterator[pl.DataFrame]:
        while self._held:
            held = self._held.popleft()
            if isinstance(held, pl.DataFrame):
                yield held
            else:
                # Read rather than mapped: mapped pages would count as memory until the end.
                yield pl.read_ipc(held.read_bytes())
                held.unlink()

    def _sorted(self, settle: Callable[[], None]) -> Iterator[pl.DataFrame]:
        schema = {**self._layout.table.schema, LINE: pl.Int64()}
        import duckdb  # noqa: PLC0415 - only a file out of order needs it, and it prints of leaks when a process ends

        with duckdb.connect(str(Path(self._folder.name) / "sort.duckdb")) as database:
            database.execute(f"SET memory_limit = '{_SORT_MEMORY}'")
            database.execute(f"SET temp_directory = '{self._folder.name}/sort'")
            database.execute("SET preserve_insertion_order = false")
            # As Polars sorts.
            database.execute("SET default_null_order = 'nulls_first'")
            database.execute("SET enable_progress_bar = false")
            database.register("file", pa.RecordBatchReader.from_batches(*_as_plain_batches(self._replay(), schema)))
            database.execute("CREATE TABLE spool AS SELECT * FROM file")
            self._find_repeats(database)
            settle()
            key = self._layout.table.key if self._layout.is_numbered else ()
            if "sequence_number" in key:
                database.execute(_NUMBER_THE_REST.format(order=", ".join(("time", *key[2:]))))
            order = ", ".join(dict.fromkeys(("symbol", *self._layout.order, *key, LINE)))
            rows = database.sql(f"SELECT * FROM spool ANTI JOIN dropped USING ({LINE}) ORDER BY {order}")  # noqa: S608
            for batch in rows.to_arrow_reader(_BATCH_ROWS):
                frame = pl.from_arrow(batch)
                yield pl.DataFrame(frame).cast(schema)  # type: ignore[arg-type]

    def _find_repeats(self, database: "duckdb.DuckDBPyConnection") -> None:
        layout = self._layout
        columns = layout.identity
        database.execute(f"CREATE TEMP TABLE dropped ({LINE} BIGINT, kept BIGINT, is_exact BOOLEAN)")
        if not columns:
            return
        # As `market.copies` says: a stock trade's id may be null, and a number below 1 is none.
        stated = {"sequence_number": "sequence_number > 0", "id": HAS_ID}
        known = " AND ".join(
            stated.get(name, f"{name} IS NOT NULL")
            for name in columns
            if name != "id" or layout.market is not Market.STOCKS
        )
        if "correction" not in layout.table.schema:
            _drop_repeats(database, layout.table.schema.names(), columns, known, f"max({LINE})")
        else:
            trade = f"max({LINE}) FILTER (NOT {IS_CORRECTION_RECORD})"
            if layout.is_numbered:
                # The record of a correction may name another exchange or id than its trade.
                number = columns[:2]
                _drop_repeats(database, layout.table.schema.names(), number, known, trade, IS_CORRECTION_RECORD)
            kept = f"coalesce({trade}, max({LINE}))"
            _drop_repeats(database, layout.table.schema.names(), columns, known, kept)
        self.duplicates = _count(database, "SELECT count(*) FROM dropped WHERE is_exact")
        conflicts = database.execute(f"SELECT {LINE}, kept FROM dropped WHERE NOT is_exact ORDER BY {LINE}").fetchall()  # noqa: S608
        self.conflicts = [Conflict(*row) for row in conflicts]


def _drop_repeats(
    database: "duckdb.DuckDBPyConnection",
    names: Sequence[str],
    key: Sequence[str],
    known: str,
    kept: str,
    which: str = "true",
) -> None:
    """Enter into `dropped` the rows `which` share their key with another row, if `known`; `kept` is the line that stays."""
    exact = " AND ".join(f"a.{name} IS NOT DISTINCT FROM b.{name}" for name in names)
    same = " AND ".join(f"a.{name} IS NOT DISTINCT FROM repeated.{name}" for name in key)
    columns = ", ".join(key)
    database.execute(f"""
        INSERT INTO dropped
        SELECT a.{LINE}, repeated.kept, {exact}
        FROM (SELECT {columns}, {kept} AS kept FROM spool WHERE {known} GROUP BY {columns} HAVING count(*) > 1) repeated
        JOIN (SELECT * FROM spool WHERE {which}) a ON {same}
        JOIN spool b ON b.{LINE} = repeated.kept
        WHERE a.{LINE} <> repeated.kept AND a.{LINE} NOT IN (SELECT {LINE} FROM dropped)
    """)  # noqa: S608


def _count(database: "duckdb.DuckDBPyConnection", query: str) -> int:
    row = database.execute(query).fetchone()
    return int(row[0]) if row else 0


def _as_plain_batches(
    frames: Iterator[pl.DataFrame], schema: dict[str, pl.DataType]
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Arrow batches of plain types: categories as text, times as integers (DuckDB has no UTC time in nanoseconds)."""
    plain = {
        name: pl.String() if dtype == pl.Categorical() else pl.Int64() if dtype.is_temporal() else dtype
        for name, dtype in schema.items()
    }
    batches = (batch for frame in frames for batch in frame.cast(plain).to_arrow().to_batches())  # type: ignore[arg-type]
    return pl.DataFrame(schema=plain).to_arrow().schema, batches


def _numbered(frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    last, so_far = "", 0
    for frame in frames:
        runs = frame["symbol"].rle().struct.unnest()
        numbers = []
        for length, symbol in zip(runs["len"], runs["value"].cast(pl.String), strict=True):
            so_far = so_far if symbol == last else 0
            numbers.append(np.arange(so_far + 1, so_far + length + 1))
            last, so_far = symbol, so_far + length
        yield frame.with_columns(pl.Series("sequence_number", np.concatenate(numbers)))
