"""The ledger of a partition: the batches merged into it, the sources of record that delivered it, and how far it reaches."""

import datetime as dt
from typing import Final

import polars as pl

from tapewatch.market.instruments import Partition
from tapewatch.market.schema import Table
from tapewatch.market.tables.stream import STREAM_BATCHES
from tapewatch.market.tables.tape import BARS, QUOTES, TIME, TRADES, quarantine_of
from tapewatch.store.lake.lake import Lake

_BACKFILL: Final = "backfill"


class Ledger:
    """`STREAM_BATCHES` of a partition."""

    def __init__(self, lake: Lake, partition: Partition, now: dt.datetime) -> None:
        self._lake, self._partition, self.now = lake, partition, now
        exists = lake.exists(STREAM_BATCHES, partition)
        self.rows = lake.read(STREAM_BATCHES, partition) if exists else STREAM_BATCHES.empty()

    def add(self, rows: pl.DataFrame) -> None:
        """Add rows and write the table; the later row of a batch stays."""
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
        """Record once how far a load reached for each symbol: after the first merge this cannot be read any more."""
        if table not in (TRADES, QUOTES) or not is_loaded(self._lake, table, self._partition):
            return
        loaded_ns = self._lake.written_ns(quarantine_of(table), self._partition)
        name = f"{_BACKFILL}-{loaded_ns:020d}-{table.name}"
        if self.rows["batch"].str.starts_with(name).any():
            return
        reach = (
            self._lake.scan(table, self._partition)
            .group_by("symbol")
            .agg(rows=pl.len(), first_time=pl.col("time").min(), last_time=pl.col("time").max())
        )
        found = reach.collect().with_columns(
            batch=pl.format("{}-{}", pl.lit(name), pl.col("symbol").cast(pl.String)),
            producer=pl.lit(_BACKFILL),
            table=pl.lit(table.name),
            added=0,
            revised=0,
            repeated=0,
            merged_time=pl.lit(self.now),
            record_symbol=pl.col("symbol"),
            record_start=pl.lit(self._partition.session.day_start).cast(TIME),
            record_end=pl.col("last_time") + pl.duration(nanoseconds=1),
        )
        # The lake holds nothing of an earlier load.
        before = pl.col("batch").str.starts_with(f"{_BACKFILL}-") & (pl.col("table").cast(pl.String) == table.name)
        self.rows = self.rows.filter(~before)
        # Written at once: after a kill, streamed rows would count as loaded ones.
        self.add(STREAM_BATCHES.conform(found))


def is_loaded(lake: Lake, table: Table, partition: Partition) -> bool:
    """Whether a load from a source of record was completed.

    A load writes its quarantine last, so a killed load has none and its day is fetched again. The stream has a quarantine
    of its own.
    """
    return lake.exists(table, partition) and lake.exists(quarantine_of(table), partition)


def collected_until(lake: Lake, partition: Partition) -> int | None:
    """The time up to which the tape of a day was collected, ns; None where all of it was, gaps apart.

    A day loaded after its end is complete. So is a day whose collector continued into the next one: what it missed in
    between is a gap.
    """
    session = partition.session
    loads = [
        lake.written_ns(quarantine_of(table), partition)
        for table in (TRADES, QUOTES, BARS)
        if is_loaded(lake, table, partition)
    ]
    if any(loaded_ns >= session.day_end for loaded_ns in loads):
        return None
    times = []
    if lake.exists(STREAM_BATCHES, partition):
        if any(later > partition for later in lake.partitions(STREAM_BATCHES, partition.market)):
            return None
        times.append(lake.scan(STREAM_BATCHES, partition).select(pl.col("last_time").max()))
    times += [
        lake.scan(table, partition).select(pl.col("time").max())
        for table in (TRADES, QUOTES)
        if loads and lake.exists(table, partition)
    ]
    known = [frame.collect().to_series().to_physical().item() for frame in times]
    return max((time for time in known if time is not None), default=session.day_start)
