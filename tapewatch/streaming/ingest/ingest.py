"""Moves waiting batches from the spool into the lake: merges them, records them in the ledger, then deletes them.

Each table is replaced as a whole. An ingest killed at any moment and run again gives the same lake: merging a row twice
changes nothing.
"""

import datetime as dt
import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl

from tapewatch.market.instruments import Partition
from tapewatch.market.prices import is_no_price, is_no_side, price_rule
from tapewatch.market.schema import Table
from tapewatch.market.tables.stream import STREAM_BATCHES, STREAMED
from tapewatch.market.tables.tape import QUARANTINE, QUOTES, SYMBOL, TRADES, quarantine_of
from tapewatch.store.durable import process_lock
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.parquet_file import whole_symbol_groups
from tapewatch.store.spool.files import SpoolFile, highest_numbers, waiting_for
from tapewatch.store.spool.rows import DamagedFileError, read_rows
from tapewatch.streaming.ingest.ledger import Ledger
from tapewatch.streaming.ingest.merge import ADDED, BATCH, INTERVALS, IS_RECORD, LINE, REVISED, lake_table, merge

#: Size of the files merged in one pass; they take several times as much memory.
PASS_BYTES = 256 * 1024 * 1024
_ROWS_AT_ONCE = 4_000_000
_DELETERS = 64
_HEALED = {**INTERVALS, BATCH: pl.UInt32()}
_log = logging.getLogger(__name__)


def ingest(
    lake: Lake, spool_root: Path, partition: Partition, through: Mapping[str, int] | None, now: dt.datetime
) -> pl.DataFrame:
    """Merge a partition's waiting batches: those up to the numbers of `through` by producer, or all.

    Rows that break a rule of the table, and superseded revisions, go to the quarantine of the streamed table.

    Returns: the `STREAM_BATCHES` rows of the merged batches. A batch merged again after a kill counts as repeated.

    Raises:
        LakeError: the lake cannot be written; the batches stay in the spool.
    """
    with partition_lock(spool_root, partition):
        if through is None:
            # A folder listed while files arrive may show a later file without an earlier one: it is listed again below.
            through = highest_numbers(waiting_for(spool_root, partition))
        ledger = Ledger(lake, partition, now)
        merged = [STREAM_BATCHES.empty()]
        for files in _passes(waiting_for(spool_root, partition, through)):
            rows = pl.concat(_merge_table(lake, partition, table, files, ledger) for table in STREAMED)
            ledger.add(rows)
            _delete(files)
            merged.append(rows)
        if len(merged) > 1 and not any(lake.exists(table, partition) for table in (TRADES, QUOTES)):
            # A market with bars only: everything computed from trades needs an empty table.
            lake.write(TRADES, partition, TRADES.empty())
        return pl.concat(merged)


@contextmanager
def partition_lock(spool_root: Path, partition: Partition) -> Iterator[None]:
    """Allows one writer at a time to a partition of the lake; waits for the other."""
    with process_lock(Path(spool_root) / partition.market.value / f"{partition.date}.lock"):
        yield


def _passes(files: Sequence[SpoolFile]) -> Iterator[list[SpoolFile]]:
    """The files in runs of bounded size; files of one number stay together."""
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

    # Each deletion waits for the file system's journal; parallel ones share the wait.
    with ThreadPoolExecutor(_DELETERS, "spool") as pool:
        list(pool.map(delete, (files[place::_DELETERS] for place in range(_DELETERS))))


def _merge_table(
    lake: Lake, partition: Partition, streamed: Table, files: Sequence[SpoolFile], ledger: Ledger
) -> pl.DataFrame:
    """Merge one table's batches into the lake; returns their ledger rows."""
    own = [file for file in files if file.table == streamed.name]
    if not own:
        return STREAM_BATCHES.empty()
    table = lake_table(streamed)
    own, rows, healed = _read(streamed, own)
    recorded = ledger.recorded(table)
    good, bad = _sift(table, partition, rows)
    refused = [_refused(streamed, own, bad)] if bad.height else []
    fates = [bad.select(BATCH, fate=pl.lit(None, pl.Int8))]

    def merged() -> Iterator[pl.DataFrame]:
        for symbols in _symbol_groups(lake, table, partition, good):
            held = lake.read(table, partition, symbols=symbols) if lake.exists(table, partition) else table.empty()
            delivered = good
            if symbols is not None:
                wanted = pl.DataFrame({"symbol": symbols}, schema={"symbol": SYMBOL})
                delivered = good.join(wanted, on="symbol", how="semi", maintain_order="left")
            if delivered.is_empty():
                yield held
                continue
            result = merge(table, partition.market, held, delivered, recorded=recorded, healed=healed)
            fates.append(result.fates)
            if result.superseded.height:
                refused.append(_named(own, result.superseded))
            yield result.rows
        # Before the table is swapped in, so that a kill in between loses no row.
        _keep_quarantine(lake, streamed, partition, refused)

    if good.height:
        lake.write(table, partition, merged(), allow_shrink=True)
    else:
        _keep_quarantine(lake, streamed, partition, refused)
    batches = pl.DataFrame({"batch": [file.name for file in own], "producer": [file.producer for file in own]})
    times = rows.group_by(BATCH).agg(rows=pl.len(), first_time=pl.col("time").min(), last_time=pl.col("time").max())
    return _ledger_rows(table, batches, times, pl.concat(fates), healed, ledger.now)


def _set_damaged_aside(streamed: Table, files: Sequence[SpoolFile]) -> list[SpoolFile]:
    """The files that can be read; damaged ones are renamed, so that they cost their own rows only."""
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


def _read(streamed: Table, files: list[SpoolFile]) -> tuple[list[SpoolFile], pl.DataFrame, pl.DataFrame]:
    """The files that can be read; their rows with `BATCH`, `LINE` and `IS_RECORD`; healed `INTERVALS` with `BATCH`."""
    try:
        frame, counts = read_rows(streamed, files)
    except DamagedFileError:
        files = _set_damaged_aside(streamed, files)
        frame, counts = read_rows(streamed, files)
    intervals = [(place, file.heals) for place, file in enumerate(files) if file.heals and counts[place]]
    healed = pl.DataFrame([(i.symbol, i.start, i.end, place) for place, i in intervals], schema=_HEALED, orient="row")
    lengths = np.array(counts, dtype=np.int64)
    batch = np.repeat(np.arange(len(files), dtype=np.uint32), lengths)
    starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
    rows = frame.with_columns(
        pl.Series(BATCH, batch),
        pl.Series(LINE, np.arange(frame.height, dtype=np.int64) - starts),
        pl.Series(IS_RECORD, np.isin(batch, [place for place, _ in intervals])),
    )
    return files, rows, healed


def _sift(table: Table, partition: Partition, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows that keep the rules of the lake's table, and the others with a column `reason`."""
    session = partition.session
    is_of_day = pl.col("time").to_physical().is_between(session.day_start, session.day_end, closed="left")
    faults = [(~is_of_day, f"time lies outside {partition}")]
    for column in table.columns:
        value = pl.col(column.name)
        if not column.is_nullable and column.name != "sequence_number":
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
    raw = pl.struct(streamed.schema.names()).struct.json_encode()
    return _named(files, bad.select("reason", source=pl.col(BATCH).cast(pl.String), line=LINE, raw=raw))


def _named(files: list[SpoolFile], rows: pl.DataFrame) -> pl.DataFrame:
    names = pl.Series([file.name for file in files], dtype=pl.String)
    return QUARANTINE.conform(rows.with_columns(source=names.gather(rows["source"].cast(pl.UInt32))))


def _keep_quarantine(lake: Lake, streamed: Table, partition: Partition, found: list[pl.DataFrame]) -> None:
    """Add to the quarantine; entries of earlier runs for the same row stay."""
    if not found:
        return
    table = quarantine_of(streamed)
    before = [lake.read(table, partition)] if lake.exists(table, partition) else []
    lake.write(table, partition, pl.concat([*before, *found]).unique(table.key, keep="first", maintain_order=True))


def _symbol_groups(
    lake: Lake, table: Table, partition: Partition, delivered: pl.DataFrame
) -> Iterator[list[str] | None]:
    """Groups of symbols to merge at once, so that a partition of any size fits in memory; None for all symbols."""
    counts = [dict(delivered["symbol"].cast(pl.String).value_counts().iter_rows())]
    if lake.exists(table, partition):
        counts.append(lake.symbols(table, partition))
    if sum(sum(count.values()) for count in counts) <= _ROWS_AT_ONCE:
        yield None
    else:
        yield from whole_symbol_groups(counts, _ROWS_AT_ONCE)


def _ledger_rows(
    table: Table,
    batches: pl.DataFrame,
    times: pl.DataFrame,
    fates: pl.DataFrame,
    healed: pl.DataFrame,
    now: dt.datetime,
) -> pl.DataFrame:
    fate = pl.col("fate")
    counts = fates.group_by(BATCH).agg(added=(fate == ADDED).sum(), revised=(fate == REVISED).sum())
    records = healed.select(BATCH, record_symbol="symbol", record_start="start", record_end="end")
    rows = batches.with_columns(pl.int_range(pl.len(), dtype=pl.UInt32).alias(BATCH))
    for figures in (times, counts, records):
        rows = rows.join(figures, on=BATCH, how="left")
    rows = rows.with_columns(
        pl.col("rows", "added", "revised").fill_null(0).cast(pl.Int64),
        table=pl.lit(table.name),
        merged_time=pl.lit(now),
    )
    # Rows in quarantine count as repeated too, since they added nothing.
    return STREAM_BATCHES.conform(rows.with_columns(repeated=pl.col("rows") - pl.col("added") - pl.col("revised")))
