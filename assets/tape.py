"""The tape: trades, quotes and bars as the source delivers them.

Belongs here: loading days from a source of record. Not here: what streams deliver (`stream.py`), how complete it all is
(`coverage.py`).
"""

import time
from collections.abc import Callable, Generator, Sequence

import dagster as dg
import polars as pl

from assets.about import about_days
from assets.checks import Checked, results
from assets.partitions import open_partitions, run_partitions
from resources.lake import Days, LakeResource, LakeTable
from resources.spool import SpoolResource
from resources.tape_source import TapeSourceResource
from tapewatch.bars.revisions import delivered_bars, revised
from tapewatch.bars.time_bars import minute_bars, reconcile
from tapewatch.feeds.errors import EntitlementError, NotInPlanError
from tapewatch.feeds.source import Load
from tapewatch.market.instruments import Partition
from tapewatch.market.live_tables import STREAM_BARS, STREAM_BATCHES
from tapewatch.market.schema import Table
from tapewatch.market.tables import BARS, DELIVERED_BARS, QUOTES, TRADES, quarantine_of
from tapewatch.store.lake import Lake
from tapewatch.store.tape import symbol_batches
from tapewatch.streaming.ingest import is_loaded, partition_lock

Fetch = Callable[[Partition, Sequence[str] | None], Load]


class LoadConfig(dg.Config):
    """How a load treats what is already there."""

    keep_existing: bool = False
    """Leave partitions that are in the lake as they are: a killed backfill goes on where it stopped."""
    from_stream: bool = False
    """For bars: take the vendor's from the stream, and from what was fetched before, instead of asking the source."""


@dg.asset(**about_days(TRADES, "polygon"))
def trades(
    context: dg.AssetExecutionContext,
    config: LoadConfig,
    tape_source: TapeSourceResource,
    lake: LakeResource,
    spool: SpoolResource,
) -> Checked:
    """Every trade of the watched symbols; none where the plan has no trades, and bars are then the vendor's alone."""
    fetch = tape_source.source().trades
    yield dg.Output(_load_days(context, config, TRADES, fetch, tape_source, lake.open(), spool))
    yield from results(context, TRADES, lake.open())


@dg.asset(**about_days(QUOTES, "polygon"))
def quotes(
    context: dg.AssetExecutionContext,
    config: LoadConfig,
    tape_source: TapeSourceResource,
    lake: LakeResource,
    spool: SpoolResource,
) -> Checked:
    """Every best bid and offer of the watched symbols; none where the plan has no quotes, and features do without."""
    fetch = tape_source.source().quotes
    yield dg.Output(
        _load_days(context, config, QUOTES, fetch, tape_source, lake.open(), spool, dispensable=EntitlementError)
    )
    yield from results(context, QUOTES, lake.open())


@dg.asset(
    **about_days(BARS, "polygon", "numba"),
    ins={"trades": dg.AssetIn(["tape", "trades"])},
    deps=[["tape", "stream_batches"]],
)
def bars(
    context: dg.AssetExecutionContext, config: LoadConfig, trades: LakeTable, tape_source: TapeSourceResource
) -> Checked:
    """Minute bars built from the trades, reconciled with the vendor's own; a bar that changes is a later revision."""
    lake = trades.lake
    source = None if config.from_stream else tape_source.source(until=open_partitions(context))

    def days() -> Generator[tuple[Partition, pl.DataFrame | None], None, None]:
        for partition in run_partitions(context):
            if config.keep_existing and is_loaded(lake, BARS, partition):
                yield partition, None
                continue
            before = lake.read(BARS, partition) if lake.exists(BARS, partition) else BARS.empty()
            if source is None:
                yield partition, revised(reconcile(_built(lake, partition), _streamed(lake, partition, before)), before)
                continue
            delivery = source.bars(partition, symbols_to_load(tape_source, lake, partition))
            delivered = pl.concat([DELIVERED_BARS.empty(), *delivery]).with_columns(
                delivered_by=pl.lit(source.name.replace("-", "_"))
            )
            yield partition, revised(reconcile(_built(lake, partition), delivered), before)
            _record(context, lake, BARS, partition, delivery)

    yield dg.Output(Days(days()))
    yield from results(context, BARS, trades.lake)


def symbols_to_load(tape_source: TapeSourceResource, lake: Lake, partition: Partition) -> Sequence[str] | None:
    """The symbols to ask a source for: those that are watched, and those that were streamed, since a load replaces the day.

    None, whatever the files hold, with flat files.

    Raises:
        SourceError: no symbols are watched in the market, or one is misspelt.
    """
    watched = tape_source.symbols_of(partition.market)
    if watched is None or not lake.exists(STREAM_BATCHES, partition):
        return watched
    streamed = (lake.symbols(t, partition) for t in (TRADES, QUOTES, STREAM_BARS) if lake.exists(t, partition))
    return sorted({*watched}.union(*streamed))


def _load_days(
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
    """The run's days of a table; a refusal of the `dispensable` kind leaves a day as it stands, and is said."""

    def days() -> Generator[tuple[Partition, Load | None], None, None]:
        for partition in run_partitions(context):
            if config.keep_existing and is_loaded(lake, table, partition):
                yield partition, None
                continue
            if _is_streaming(lake, partition):
                context.log.warning(f"{table.name} {partition}: the stream fills this day; load it once it is over")
                yield partition, None
                continue
            try:
                load = fetch(partition, symbols_to_load(tape_source, lake, partition))
            except dispensable as refusal:
                context.log.warning(str(refusal))
                context.add_asset_metadata({"not_in_plan": str(refusal)}, partition_key=str(partition))
                yield partition, None
                continue
            # It is committed while the lock is held: what a run merges meanwhile would be written over.
            with partition_lock(spool.path, partition):
                yield partition, load
                _record(context, lake, table, partition, load)

    return Days(days())


def _is_streaming(lake: Lake, partition: Partition) -> bool:
    """Whether a load would write over rows that the source does not show yet."""
    return lake.exists(STREAM_BATCHES, partition) and partition.session.day_end > time.time_ns()


def _streamed(lake: Lake, partition: Partition, before: pl.DataFrame) -> pl.DataFrame:
    has_bars = lake.exists(STREAM_BARS, partition)
    return delivered_bars(lake.read(STREAM_BARS, partition) if has_bars else STREAM_BARS.empty(), before)


def _record(context: dg.AssetExecutionContext, lake: Lake, table: Table, partition: Partition, load: Load) -> None:
    """Keep what a committed load refused, and say what the source had."""
    refused = load.quarantine
    lake.write(quarantine_of(table), partition, refused, allow_shrink=True)
    for notice in load.notices:
        context.log.warning(notice)
    if refused.height:
        context.log.warning(
            f"{table.name} {partition}: {refused.height:,} row(s) in quarantine, see their reasons there"
        )
    context.add_asset_metadata(
        {"source_rows": load.source_rows, "duplicates": load.duplicates, "quarantined": refused.height},
        partition_key=str(partition),
    )


def _built(lake: Lake, partition: Partition) -> pl.DataFrame:
    if not (lake.exists(TRADES, partition) or lake.exists(QUOTES, partition)):
        return DELIVERED_BARS.empty()
    batches = symbol_batches(lake, partition)
    return pl.concat([DELIVERED_BARS.empty(), *(minute_bars(trades, partition.session) for trades, _ in batches)])
