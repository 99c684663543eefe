"""The batches of the stream, merged into the tape."""

import datetime as dt

import dagster as dg
import polars as pl
from pydantic import Field

from assets.shared.about import about_days
from assets.shared.checks import Checked, results
from assets.shared.partitions import run_partitions
from resources.interrupts import uninterrupted
from resources.lake import Days, LakeResource
from resources.stores import SpoolResource
from tapewatch.market.instruments import Partition
from tapewatch.market.tables.stream import STREAM_BATCHES
from tapewatch.market.tables.tape import QUOTES, TRADES
from tapewatch.store.lake.lake import Lake
from tapewatch.streaming.ingest.ingest import ingest


class IngestConfig(dg.Config):
    """The waiting batches that a run merges."""

    through: dict[str, int] = Field(default_factory=dict)
    """The number of the last batch to merge, by producer; empty for all waiting batches."""


@dg.asset(**about_days(STREAM_BATCHES, "polygon"))
def stream_batches(
    context: dg.AssetExecutionContext, config: IngestConfig, lake: LakeResource, spool: SpoolResource
) -> Checked:
    """The ledger of the spool's batches that were merged into the tables of the tape."""
    opened = lake.open()
    partitions = list(run_partitions(context))
    for partition in partitions:
        merged = ingest(opened, spool.path, partition, config.through or None, dt.datetime.now(dt.UTC))
        _record_merge(context, opened, partition, merged)
    # The ledger is written with what it records.
    yield dg.Output(Days((partition, None) for partition in partitions))
    yield from results(context, STREAM_BATCHES, opened)


def _record_merge(context: dg.AssetExecutionContext, lake: Lake, partition: Partition, merged: pl.DataFrame) -> None:
    """Record on the pages of trades and quotes what was merged into them."""
    counts = merged.group_by("table").agg(
        pl.len().alias("batches"), pl.col("rows", "added", "revised", "repeated").sum(), pl.col("last_time").max()
    )
    for row in counts.sort("table").iter_rows(named=True):
        name, last = row.pop("table"), row.pop("last_time")
        with uninterrupted():
            context.log.info(f"{name} {partition}: {row['rows']:,} streamed row(s), {row['added']:,} of them new")
        table = next((table for table in (TRADES, QUOTES) if table.name == name), None)
        if table is None:
            continue
        facts = {**row, "dagster/row_count": lake.rows(table, partition), "last_time": str(last), "source": "stream"}
        materialized = dg.AssetMaterialization([table.group, table.name], partition=str(partition), metadata=facts)
        with uninterrupted():
            context.log_event(materialized)
