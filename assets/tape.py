"""The tape: trades, quotes and bars as the source delivers them, and how complete they are."""

from collections.abc import Callable, Iterator, Sequence

import dagster as dg
import polars as pl

from assets.about import about_days
from assets.checks import Checked, results
from assets.partitions import open_partitions, run_partitions
from resources.lake import Days, LakeResource, LakeTable
from resources.tape_source import TapeSourceResource
from tapewatch.bars.coverage import coverage as day_coverage
from tapewatch.bars.time_bars import minute_bars, reconcile
from tapewatch.feeds.errors import EntitlementError, NotInPlanError
from tapewatch.feeds.source import Load
from tapewatch.market.instruments import Partition
from tapewatch.market.schema import Table
from tapewatch.market.tables import BARS, COVERAGE, DELIVERED_BARS, QUOTES, TRADES, quarantine_of
from tapewatch.store.lake import Lake
from tapewatch.store.tape import symbol_batches

Fetch = Callable[[Partition, Sequence[str] | None], Load]


class LoadConfig(dg.Config):
    """How a load treats what is already there."""

    keep_existing: bool = False
    """Leave partitions that are in the lake as they are: a killed backfill goes on where it stopped."""


@dg.asset(**about_days(TRADES, "polygon"))
def trades(
    context: dg.AssetExecutionContext, config: LoadConfig, tape_source: TapeSourceResource, lake: LakeResource
) -> Checked:
    """Every trade of the watched symbols; none where the plan has no trades, and bars are then the vendor's alone."""
    yield dg.Output(_load_days(context, config, TRADES, tape_source.source().trades, tape_source, lake.open()))
    yield from results(context, TRADES, lake.open())


@dg.asset(**about_days(QUOTES, "polygon"))
def quotes(
    context: dg.AssetExecutionContext, config: LoadConfig, tape_source: TapeSourceResource, lake: LakeResource
) -> Checked:
    """Every best bid and offer of the watched symbols; none where the plan has no quotes, and features do without."""
    yield dg.Output(
        _load_days(
            context, config, QUOTES, tape_source.source().quotes, tape_source, lake.open(), dispensable=EntitlementError
        )
    )
    yield from results(context, QUOTES, lake.open())


@dg.asset(
    **about_days(BARS, "polygon", "numba"),
    ins={"trades": dg.AssetIn(["tape", "trades"])},
)
def bars(
    context: dg.AssetExecutionContext, config: LoadConfig, trades: LakeTable, tape_source: TapeSourceResource
) -> Checked:
    """Minute bars built from the trades, reconciled with the vendor's own."""
    source, lake = tape_source.source(until=open_partitions(context)), trades.lake

    def days() -> Iterator[tuple[Partition, pl.DataFrame | None]]:
        for partition in run_partitions(context):
            if config.keep_existing and _is_loaded(lake, BARS, partition):
                yield partition, None
                continue
            delivery = source.bars(partition, tape_source.symbols_of(partition.market))
            delivered = pl.concat([DELIVERED_BARS.empty(), *delivery])
            yield partition, reconcile(_built(lake, partition), delivered)
            _record(context, lake, BARS, partition, delivery)

    yield dg.Output(Days(days()))
    yield from results(context, BARS, trades.lake)


@dg.asset(
    **about_days(COVERAGE),
    ins={name: dg.AssetIn(["tape", name]) for name in ("trades", "quotes", "bars")},
)
def coverage(
    context: dg.AssetExecutionContext,
    trades: LakeTable,
    quotes: LakeTable,
    bars: LakeTable,
    tape_source: TapeSourceResource,
) -> Checked:
    """What each symbol's day holds of what it should; a watched symbol of which nothing came has its row too."""

    def of(p: Partition) -> pl.DataFrame:
        watched = tape_source.symbols_of(p.market) or ()
        return day_coverage(trades.scan(p), quotes.scan(p), bars.scan(p), p.session, symbols=watched)

    yield dg.Output(Days((partition, of(partition)) for partition in run_partitions(context)))
    yield from results(context, COVERAGE, trades.lake)


def _load_days(
    context: dg.AssetExecutionContext,
    config: LoadConfig,
    table: Table,
    fetch: Fetch,
    tape_source: TapeSourceResource,
    lake: Lake,
    *,
    dispensable: type[EntitlementError] = NotInPlanError,
) -> Days:
    """The run's days of a table; a refusal of the `dispensable` kind leaves a day as it stands, and is said."""

    def days() -> Iterator[tuple[Partition, Load | None]]:
        for partition in run_partitions(context):
            if config.keep_existing and _is_loaded(lake, table, partition):
                yield partition, None
                continue
            try:
                load = fetch(partition, tape_source.symbols_of(partition.market))
            except dispensable as refusal:
                context.log.warning(str(refusal))
                context.add_asset_metadata({"not_in_plan": str(refusal)}, partition_key=str(partition))
                yield partition, None
                continue
            yield partition, load
            _record(context, lake, table, partition, load)

    return Days(days())


def _is_loaded(lake: Lake, table: Table, partition: Partition) -> bool:
    """Whether a load ended: the quarantine is written last, so a kill before it has the day fetched again."""
    return lake.exists(table, partition) and lake.exists(quarantine_of(table), partition)


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
