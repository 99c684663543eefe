"""From the spool into the lake: waiting batches of one partition, merged, recorded, and only then deleted.

Each table is replaced whole and at once. Killed at any moment and run again, the lake is the same: what was merged already
merges into itself.
"""

import datetime as dt
import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from tapewatch.market.instruments import Partition
from tapewatch.market.live_tables import STREAM_BATCHES, STREAMED
from tapewatch.market.prices import is_no_price, is_no_side, price_rule
from tapewatch.market.schema import Table
from tapewatch.market.tables import BARS, QUARANTINE, QUOTES, SYMBOL, TIME, TRADES, quarantine_of
from tapewatch.store.durable import process_lock
from tapewatch.store.lake.lake import Lake, whole_symbol_groups
from tapewatch.store.spool.files import HealedInterval, SpoolFile, highest_numbers, waiting_for
from tapewatch.store.spool.rows import DamagedFileError, read_rows
from tapewatch.streaming.ingest.merge import (
    ADDED,
    BATCH,
    INTERVALS,
    IS_RECORD,
    LINE,
    REVISED,
    identity,
    lake_table,
    merge,
)

#: Batches merged in one pass, in bytes of their files: some times as much lies in memory.
PASS_BYTES = 256 * 1024 * 1024
_ROWS_AT_ONCE = 4_000_000
_DELETERS = 64
BACKFILL = "backfill"
_HEALED = {**INTERVALS, BATCH: pl.UInt32()}
_log = logging.getLogger(__name__)


def ingest(
    lake: Lake, spool_root: Path, partition: Partition, through: Mapping[str, int] | None, now: dt.datetime
) -> pl.DataFrame:
    """Merge a partition's waiting batches, those up to the numbers of `through` by producer, or all.

    Rows that fit no table, and revisions that were superseded, go to the quarantine of the streamed table.

    Returns: the `STREAM_BATCHES` rows of what was merged. Merged anew after a kill, a batch counts as repeated.

    Raises:
        LakeError: the lake cannot be written; the batches stay where they are.
    """
    with partition_lock(spool_root, partition):
        if through is None:
            # A folder that is listed while files come may show a later one without the one before: it is listed again.
            through = highest_numbers(waiting_for(spool_root, partition))
        ledger = _Ledger(lake, partition, now)
        merged = [STREAM_BATCHES.empty()]
        for files in _passes(waiting_for(spool_root, partition, through)):
            rows = pl.concat(_merge_table(lake, partition, table, files, ledger) for table in STREAMED)
            ledger.add(rows)
            _delete(files)
            merged.append(rows)
        if len(merged) > 1 and not any(lake.exists(table, partition) for table in (TRADES, QUOTES)):
            # A market of bars alone: what is made of trades is made of none.
            lake.write(TRADES, partition, TRADES.empty())
        return pl.concat(merged)


@contextmanager
def partition_lock(spool_root: Path, partition: Partition) -> Iterator[None]:
    """One writer at a time for a partition of the lake: waits for the other."""
    with process_lock(Path(spool_root) / partition.market.value / f"{partition.date}.lock"):
        yield


def is_loaded(lake: Lake, table: Table, partition: Partition) -> bool:
    """Whether a load from a source of record ended: the quarantine is written last, so a kill before it has the day
    fetched again. What the stream brought has its quarantine elsewhere."""
    return lake.exists(table, partition) and lake.exists(quarantine_of(table), partition)


def _passes(files: Sequence[SpoolFile]) -> Iterator[list[SpoolFile]]:
    """Runs of files of bounded size; those of one number stay together."""
    taken: list[SpoolFile] = []
    size = 0
    for file in files:
        if taken and size + file.bytes > PASS_BYTES and file.number != taken[-1].number:
            yield taken
            taken, size = [], 0
        taken.append(file)
        size += file.bytes
    if taken:
        yield taken


def _delete(files: Sequence[SpoolFile]) -> None:
    def delete(some: Sequence[SpoolFile]) -> None:
        for file in some:
            Path(file.path).unlink(missing_ok=True)

    # Each waits for the file system's journal: side by side they share the wait.
    with ThreadPoolExecutor(_DELETERS, "spool") as pool:
        list(pool.map(delete, (files[place::_DELETERS] for place in range(_DELETERS))))


class _Ledger:
    """`STREAM_BATCHES` of a partition, and what it says of sources of record."""

    def __init__(self, lake: Lake, partition: Partition, now: dt.datetime) -> None:
        self._lake, self._partition, self.now = lake, partition, now
        exists = lake.exists(STREAM_BATCHES, partition)
        self.rows = lake.read(STREAM_BATCHES, partition) if exists else STREAM_BATCHES.empty()

    def add(self, rows: pl.DataFrame) -> None:
        """Keep the rows of a pass."""
        self.rows = pl.concat([self.rows, rows]).unique("batch", keep="last", maintain_order=True)
        self._lake.write(STREAM_BATCHES, self._partition, self.rows, allow_shrink=True)

    def recorded(self, table: Table) -> pl.DataFrame:
        """`INTERVALS` of a lake table that a source of record delivered."""
        self._note_load(table)
        of_table = pl.col("table").cast(pl.String) == table.name
        return self.rows.filter(of_table, pl.col("record_symbol").is_not_null()).select(
            symbol="record_symbol",
            start=pl.col("record_start").to_physical(),
            end=pl.col("record_end").to_physical(),
        )

    def _note_load(self, table: Table) -> None:
        """Remember once how far a load reached, symbol by symbol: after the first merge nothing else tells."""
        if table not in (TRADES, QUOTES) or not is_loaded(self._lake, table, self._partition):
            return
        loaded_ns = round(self._lake.path(quarantine_of(table), self._partition).stat().st_mtime * 1e9)
        name = f"{BACKFILL}-{loaded_ns:020d}-{table.name}"
        if self.rows["batch"].str.starts_with(name).any():
            return
        reach = (
            self._lake.scan(table, self._partition)
            .group_by("symbol")
            .agg(rows=pl.len(), first_time=pl.col("time").min(), last_time=pl.col("time").max())
        )
        found = reach.collect().with_columns(
            batch=pl.format("{}-{}", pl.lit(name), pl.col("symbol").cast(pl.String)),
            producer=pl.lit(BACKFILL),
            table=pl.lit(table.name),
            added=0,
            revised=0,
            repeated=0,
            merged_time=pl.lit(self.now),
            record_symbol=pl.col("symbol"),
            record_start=pl.lit(self._partition.session.day_start).cast(TIME),
            record_end=pl.col("last_time") + pl.duration(nanoseconds=1),
        )
        # Of an earlier load nothing is left in the lake.
        before = pl.col("batch").str.starts_with(f"{BACKFILL}-") & (pl.col("table").cast(pl.String) == table.name)
        self.rows = self.rows.filter(~before)
        # At once: after a kill the streamed rows would pass for loaded ones.
        self.add(STREAM_BATCHES.conform(found))


@dataclass
class _Waiting:
    """The waiting rows of one table: `rows` has the table's columns and the travelling ones, in order of arrival."""

    files: list[SpoolFile]
    rows: pl.DataFrame
    healed: pl.DataFrame
    intervals: dict[int, HealedInterval] = field(default_factory=dict)


def _merge_table(
    lake: Lake, partition: Partition, streamed: Table, files: Sequence[SpoolFile], ledger: _Ledger
) -> pl.DataFrame:
    """Merge one table's batches into the lake; their ledger rows."""
    own = [file for file in files if file.table == streamed.name]
    if not own:
        return STREAM_BATCHES.empty()
    table = lake_table(streamed)
    waiting = _read(streamed, own)
    own, recorded = waiting.files, ledger.recorded(table)
    good, bad = _sift(table, partition, waiting.rows)
    refused = [_refused(streamed, own, bad)] if bad.height else []
    fates = [bad.select(BATCH, fate=pl.lit(None, pl.Int8))]

    def merged() -> Iterator[pl.DataFrame]:
        for symbols in _symbol_groups(lake, table, partition, good):
            held = lake.read(table, partition, symbols=symbols) if lake.exists(table, partition) else table.empty()
            delivered = (
                good
                if symbols is None
                else good.join(
                    pl.DataFrame({"symbol": symbols}, schema={"symbol": SYMBOL}),
                    on="symbol",
                    how="semi",
                    maintain_order="left",
                )
            )
            if delivered.is_empty():
                yield held
                continue
            result = merge(table, partition.market, held, delivered, recorded=recorded, healed=waiting.healed)
            fates.append(result.fates)
            if result.superseded.height:
                refused.append(_named(own, result.superseded))
            yield result.rows
        # Before the table is swapped in: a row is in one of the two, whatever happens in between.
        _keep_quarantine(lake, streamed, partition, refused)

    if good.height:
        lake.write(table, partition, merged(), allow_shrink=True)
    else:
        _keep_quarantine(lake, streamed, partition, refused)
    return _ledger_rows(table, waiting, pl.concat(fates), ledger.now)


def _set_damaged_aside(streamed: Table, files: Sequence[SpoolFile]) -> list[SpoolFile]:
    """The files that can be read. A disk that lost what it had promised to keep costs that batch, not the others."""
    sound = []
    for file in files:
        try:
            read_rows(streamed, [file])
        except DamagedFileError as error:
            aside = Path(file.path).rename(f"{file.path}.damaged")
            _log.error("%s cannot be read and is set aside as %s: %s", file.name, aside, error)
        else:
            sound.append(file)
    return sound


def _read(streamed: Table, files: list[SpoolFile]) -> _Waiting:
    try:
        frame, counts = read_rows(streamed, files)
    except DamagedFileError:
        files = _set_damaged_aside(streamed, files)
        frame, counts = read_rows(streamed, files)
    intervals = {place: file.heals for place, file in enumerate(files) if file.heals and counts[place]}
    healed = pl.DataFrame(
        [(i.symbol, i.start, i.end, place) for place, i in intervals.items()],
        schema=_HEALED,
        orient="row",
    )
    lengths = np.array(counts, dtype=np.int64)
    batch = np.repeat(np.arange(len(files), dtype=np.uint32), lengths)
    starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
    rows = frame.with_columns(
        pl.Series(BATCH, batch),
        pl.Series(LINE, np.arange(frame.height, dtype=np.int64) - starts),
        pl.Series(IS_RECORD, np.isin(batch, list(intervals))),
    )
    return _Waiting(files, rows, healed, intervals)


def _sift(table: Table, partition: Partition, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows that the lake's table takes, and the others with a column `reason`."""
    session = partition.session
    faults = [
        (
            ~pl.col("time").to_physical().is_between(session.day_start, session.day_end, closed="left"),
            f"time lies outside {partition}",
        )
    ]
    needs_number = "sequence_number" in identity(table, partition.market)
    for column in table.columns:
        value = pl.col(column.name)
        if not column.is_nullable and (column.name != "sequence_number" or needs_number):
            faults.append((value.is_null(), f"{column.name}: the row states none"))
        if column.dtype.is_float():
            faults.append((~value.is_finite(), f"{column.name} is no finite number"))
        if column.minimum is not None:
            faults.append((value < column.minimum, f"{column.name} is below {column.minimum:g}"))
        if column.is_price:
            is_wrong = is_no_price if table is TRADES else is_no_side
            rule = price_rule(partition.market, may_be_empty=table is not TRADES)
            faults.append((is_wrong(column.name, partition.market), f"{column.name} is no {rule}"))
    is_bad = rows.select(pl.any_horizontal(fault.fill_null(value=False) for fault, _ in faults)).to_series()
    if not is_bad.any():
        return rows, rows.clear()
    reason = pl.coalesce(pl.when(fault).then(pl.lit(sentence)) for fault, sentence in faults)
    return rows.filter(~is_bad), rows.filter(is_bad).with_columns(reason=reason)


def _refused(streamed: Table, files: list[SpoolFile], bad: pl.DataFrame) -> pl.DataFrame:
    return _named(
        files,
        bad.select(
            source=pl.col(BATCH).cast(pl.String),
            line=LINE,
            reason="reason",
            raw=pl.struct(streamed.schema.names()).struct.json_encode(),
        ),
    )


def _named(files: list[SpoolFile], rows: pl.DataFrame) -> pl.DataFrame:
    names = pl.Series([file.name for file in files], dtype=pl.String)
    return QUARANTINE.conform(rows.with_columns(source=names.gather(rows["source"].cast(pl.UInt32))))


def _keep_quarantine(lake: Lake, streamed: Table, partition: Partition, found: list[pl.DataFrame]) -> None:
    """Add to the quarantine; what a run before this one said of the same row stays."""
    if not found:
        return
    table = quarantine_of(streamed)
    before = [lake.read(table, partition)] if lake.exists(table, partition) else []
    lake.write(table, partition, pl.concat([*before, *found]).unique(table.key, keep="first", maintain_order=True))


def _symbol_groups(
    lake: Lake, table: Table, partition: Partition, delivered: pl.DataFrame
) -> Iterator[list[str] | None]:
    """Symbols to be merged at once, so that a partition of any size fits in memory; None for all of them."""
    counts = [dict(delivered["symbol"].cast(pl.String).value_counts().iter_rows())]
    if lake.exists(table, partition):
        counts.append(lake.symbols(table, partition))
    if sum(sum(count.values()) for count in counts) <= _ROWS_AT_ONCE:
        yield None
    else:
        yield from whole_symbol_groups(counts, _ROWS_AT_ONCE)


def _ledger_rows(table: Table, waiting: _Waiting, fates: pl.DataFrame, now: dt.datetime) -> pl.DataFrame:
    of_batch = waiting.rows.group_by(BATCH).agg(
        rows=pl.len(), first_time=pl.col("time").min(), last_time=pl.col("time").max()
    )
    fate = pl.col("fate")
    counts = fates.group_by(BATCH).agg(added=(fate == ADDED).sum(), revised=(fate == REVISED).sum())
    places = pl.DataFrame(
        {
            BATCH: pl.int_range(len(waiting.files), dtype=pl.UInt32, eager=True),
            "batch": [file.name for file in waiting.files],
            "producer": [file.producer for file in waiting.files],
        }
    )
    records = pl.DataFrame(
        [(place, i.symbol, i.start, i.end) for place, i in waiting.intervals.items()],
        schema={BATCH: pl.UInt32(), "record_symbol": pl.String(), "record_start": pl.Int64(), "record_end": pl.Int64()},
        orient="row",
    )
    rows = (
        places.join(of_batch, on=BATCH, how="left")
        .join(counts, on=BATCH, how="left")
        .join(records, on=BATCH, how="left")
        .with_columns(
            pl.col("rows", "added", "revised").fill_null(0).cast(pl.Int64),
            table=pl.lit(table.name),
            merged_time=pl.lit(now),
        )
    )
    # Rows in quarantine count as repeated too: they added nothing.
    return STREAM_BATCHES.conform(rows.with_columns(repeated=pl.col("rows") - pl.col("added") - pl.col("revised")))


def collected_until(lake: Lake, partition: Partition) -> int | None:
    """Up to which time the tape of a day was collected, ns; None where all of it was, gaps apart.

    A day that was loaded once it was over is whole. So is one whose collector went on into the next day: what it missed
    in between is a gap of its own.
    """
    session = partition.session
    loads = [
        lake.path(quarantine_of(table), partition)
        for table in (TRADES, QUOTES, BARS)
        if is_loaded(lake, table, partition)
    ]
    if any(path.stat().st_mtime * 1e9 >= session.day_end for path in loads):
        return None
    tables = [STREAM_BATCHES] if lake.exists(STREAM_BATCHES, partition) else []
    if tables and any(later > partition for later in lake.partitions(STREAM_BATCHES, partition.market)):
        return None
    times = [lake.scan(STREAM_BATCHES, partition).select(pl.col("last_time").max())] if tables else []
    times += [
        lake.scan(table, partition).select(pl.col("time").max())
        for table in (TRADES, QUOTES)
        if loads and lake.exists(table, partition)
    ]
    known = [frame.collect().to_series().to_physical().item() for frame in times]
    return max((time for time in known if time is not None), default=session.day_start)
