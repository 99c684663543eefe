"""Loads days from a source of record, and records what was loaded."""

import time
from collections.abc import Callable, Generator, Sequence

import dagster as dg

from assets.shared.checks import Check, key_of
from assets.shared.judgements import CheckVerdict
from assets.shared.partitions import run_partitions
from resources.interrupts import uninterrupted
from resources.lake import Days
from resources.stores import SpoolResource
from resources.tape_source import TapeSourceResource
from tapewatch.feeds.errors import EntitlementError, NotInPlanError
from tapewatch.feeds.source import Load, MissingDayError
from tapewatch.market.instruments import Partition
from tapewatch.market.schema import Table
from tapewatch.market.tables.stream import STREAM_BARS, STREAM_BATCHES
from tapewatch.market.tables.tape import QUOTES, TRADES, quarantine_of
from tapewatch.store.lake.lake import Lake
from tapewatch.streaming.ingest.ingest import partition_lock
from tapewatch.streaming.ingest.ledger import is_loaded

Fetch = Callable[[Partition, Sequence[str] | None], Load]


class LoadConfig(dg.Config):
    """How a load treats existing data."""

    keep_existing: bool = False
    """Keep the partitions that are in the lake, so that a killed backfill continues."""
    from_stream: bool = False
    """For bars: take the vendor's bars from the stream and from earlier loads, instead of the source."""


def symbols_to_load(tape_source: TapeSourceResource, lake: Lake, partition: Partition) -> Sequence[str] | None:
    """The symbols to load: the watched ones, and those that were streamed, since a load replaces the day.

    None (all) with flat files.

    Raises:
        SourceError: no symbols are watched in the market, or one is misspelt.
    """
    watched = tape_source.symbols_of(partition.market)
    if watched is None or not lake.exists(STREAM_BATCHES, partition):
        return watched
    streamed = (lake.symbols(t, partition) for t in (TRADES, QUOTES, STREAM_BARS) if lake.exists(t, partition))
    return sorted({*watched}.union(*streamed))


def load_days(
    context: dg.AssetExecutionContext,
    config: LoadConfig,
    table: Table,
    fetch: Fetch,
    tape_source: TapeSourceResource,
    lake: Lake,
    spool: SpoolResource,
    *,
    dispensable: type[EntitlementError] = NotInPlanError,
) -> Days:
    """The run's days of a table. An error of the kind `dispensable` keeps a day as it is and is logged; so does a day of
    which the source holds nothing, unless it holds none of them."""

    def days() -> Generator[tuple[Partition, Load | None], None, None]:
        absent: list[MissingDayError] = []
        partitions = list(run_partitions(context))
        for partition in partitions:
            if config.keep_existing and is_loaded(lake, table, partition):
                yield partition, None
                continue
            if _is_streaming(lake, partition):
                warn(context, f"{table.name} {partition}: the stream fills this day; load it once it is over")
                yield partition, None
                continue
            tape_source.expect_vendor()
            try:
                load = fetch(partition, symbols_to_load(tape_source, lake, partition))
            except MissingDayError as error:
                absent.append(error)
                if len(absent) == len(partitions):
                    raise
                skip_absent(context, partition, error)
                yield partition, None
                continue
            except dispensable as refusal:
                warn(context, str(refusal))
                context.add_asset_metadata({"not_in_plan": str(refusal)}, partition_key=str(partition))
                yield partition, None
                continue
            # Committed while the lock is held: it would overwrite what another run merges meanwhile.
            with partition_lock(spool.path, partition):
                yield partition, load
                record_load(context, lake, table, partition, load)

    return Days(days())


def _is_streaming(lake: Lake, partition: Partition) -> bool:
    """Whether a load would overwrite rows that the source does not have yet."""
    return lake.exists(STREAM_BATCHES, partition) and partition.session.day_end > time.time_ns()


def skip_absent(context: dg.AssetExecutionContext, partition: Partition, error: MissingDayError) -> None:
    """Say that the source holds nothing of a day, which is then skipped."""
    warn(context, f"{partition} is skipped: {error}")
    context.add_asset_metadata({"absent": str(error)}, partition_key=str(partition))


def warn(context: dg.AssetExecutionContext, message: str) -> None:
    with uninterrupted():
        context.log.warning(message)


def record_load(context: dg.AssetExecutionContext, lake: Lake, table: Table, partition: Partition, load: Load) -> None:
    """Store the quarantined rows of a committed load, and record the source's counts."""
    refused = load.quarantine
    lake.write(quarantine_of(table), partition, refused, allow_shrink=True)
    for notice in load.notices:
        warn(context, notice)
    if refused.height:
        warn(context, f"{table.name} {partition}: {refused.height:,} row(s) in quarantine, see their reasons there")
    context.add_asset_metadata(
        {"source_rows": load.source_rows, "duplicates": load.duplicates, "quarantined": refused.height},
        partition_key=str(partition),
    )


def rows_match_source(table: Table, lake: Lake, partition: Partition) -> CheckVerdict:
    """Rows in the lake, dropped duplicates and quarantined rows add up to the rows of the source."""
    return judge_counts(dg.AssetExecutionContext.get().instance, table, lake, partition)


def judge_counts(instance: dg.DagsterInstance, table: Table, lake: Lake, partition: Partition) -> CheckVerdict:
    """The verdict of `rows_match_source`; the source's counts are in the event log of `instance`."""
    load = _last_load(instance, table, partition)
    if load is None:
        return True, {"kept_from": "an earlier load"}
    kept, refused = lake.rows(table, partition), lake.rows(quarantine_of(table), partition)
    facts = {"kept": kept, "quarantined": refused, **load}
    return kept + refused + load["duplicates"] == load["source_rows"], facts


ROWS_MATCH_SOURCE = Check(rows_match_source)


def _last_load(instance: dg.DagsterInstance, table: Table, partition: Partition) -> dict[str, int] | None:
    """The source's counts at the last load of a partition; None if this run kept the partition."""
    of_the_day = dg.AssetRecordsFilter(key_of(table), asset_partitions=[str(partition)])
    with uninterrupted():
        records = instance.fetch_materializations(of_the_day, limit=1).records
    metadata = records[0].asset_materialization.metadata if records else {}
    if "source_rows" not in metadata:
        return None
    return {name: int(metadata[name].value) for name in ("source_rows", "duplicates")}
