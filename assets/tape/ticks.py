"""The tape: trades, quotes and bars."""

from collections.abc import Generator, Iterator

import dagster as dg
import polars as pl

from assets.shared import judgements
from assets.shared.about import about_days
from assets.shared.checks import Check, Checked, results
from assets.shared.partitions import open_partitions, run_partitions
from assets.tape.loading import ROWS_MATCH_SOURCE, LoadConfig, load_days, record_load, skip_absent, symbols_to_load
from resources.lake import Days, LakeResource, LakeTable
from resources.stores import SpoolResource
from resources.tape_source import TapeSourceResource
from tapewatch.bars.midquotes import midquote_bars
from tapewatch.bars.revisions import delivered_bars, revised
from tapewatch.bars.time_bars import minute_bars, reconcile
from tapewatch.feeds.errors import EntitlementError
from tapewatch.feeds.source import MissingDayError
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.stream import STREAM_BARS
from tapewatch.market.tables.tape import BARS, DELIVERED_BARS, QUOTES, TRADES, quarantine_of
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.tape import symbol_batches
from tapewatch.streaming.ingest.ledger import is_loaded

_TRADES = (
    ROWS_MATCH_SOURCE,
    Check(judgements.inside_session),
    Check(judgements.prices_and_sizes),
    Check(judgements.aggressor_agreement, blocks=False),
)
_QUOTES = (ROWS_MATCH_SOURCE, Check(judgements.inside_session), Check(judgements.crossed, blocks=False))
_BARS = (
    Check(judgements.inside_session),
    Check(judgements.ohlc_consistent),
    Check(judgements.agree_with_delivered, blocks=False),
)


@dg.asset(**about_days(TRADES, "polygon", checks=_TRADES))
def trades(
    context: dg.AssetExecutionContext,
    config: LoadConfig,
    tape_source: TapeSourceResource,
    lake: LakeResource,
    spool: SpoolResource,
) -> Checked:
    """The trades of the watched symbols. A plan without trades has none; bars are then the vendor's alone."""
    fetch = tape_source.source().trades
    yield dg.Output(load_days(context, config, TRADES, fetch, tape_source, lake.open(), spool))
    yield from results(context, TRADES, lake.open(), _TRADES)


@dg.asset(**about_days(QUOTES, "polygon", checks=_QUOTES))
def quotes(
    context: dg.AssetExecutionContext,
    config: LoadConfig,
    tape_source: TapeSourceResource,
    lake: LakeResource,
    spool: SpoolResource,
) -> Checked:
    """The best bids and offers of the watched symbols. A plan without quotes has none; features do without."""
    fetch = tape_source.source().quotes
    yield dg.Output(
        load_days(context, config, QUOTES, fetch, tape_source, lake.open(), spool, dispensable=EntitlementError)
    )
    yield from results(context, QUOTES, lake.open(), _QUOTES)


@dg.asset(
    **about_days(BARS, "polygon", "numba", checks=_BARS),
    ins={"trades": dg.AssetIn(["tape", "trades"])},
    deps=[["tape", "quotes"], ["tape", "stream_batches"]],
)
def bars(
    context: dg.AssetExecutionContext, config: LoadConfig, trades: LakeTable, tape_source: TapeSourceResource
) -> Checked:
    """Minute bars built from the trades (in forex from midquotes) and reconciled with the vendor's own; a changed bar is a
    new revision."""
    lake = trades.lake
    source = None if config.from_stream else tape_source.source(until=open_partitions(context))

    def days() -> Generator[tuple[Partition, pl.DataFrame | None], None, None]:
        for partition in run_partitions(context):
            if config.keep_existing and is_loaded(lake, BARS, partition):
                yield partition, None
                continue
            before = lake.read(BARS, partition) if lake.exists(BARS, partition) else BARS.empty()
            if source is None:
                yield partition, revised(_reconciled(lake, partition, _streamed(lake, partition, before)), before)
                continue
            tape_source.expect_vendor()
            try:
                delivery = source.bars(partition, symbols_to_load(tape_source, lake, partition))
            except MissingDayError as error:
                skip_absent(context, partition, error)
                yield partition, None
                continue
            delivered = pl.concat([DELIVERED_BARS.empty(), *delivery]).with_columns(
                delivered_by=pl.lit(source.name.replace("-", "_"))
            )
            yield partition, revised(_reconciled(lake, partition, delivered), before)
            record_load(context, lake, BARS, partition, delivery)

    yield dg.Output(Days(days()))
    yield from results(context, BARS, trades.lake, _BARS)


def _streamed(lake: Lake, partition: Partition, before: pl.DataFrame) -> pl.DataFrame:
    has_bars = lake.exists(STREAM_BARS, partition)
    loaded_ns = lake.written_ns(quarantine_of(BARS), partition) if is_loaded(lake, BARS, partition) else 0
    return delivered_bars(lake.read(STREAM_BARS, partition) if has_bars else STREAM_BARS.empty(), before, loaded_ns)


def _reconciled(lake: Lake, partition: Partition, delivered: pl.DataFrame) -> pl.DataFrame:
    if partition.market is not Market.FOREX:
        return reconcile(_built(lake, partition), delivered)
    # There are no trades: the vendor's own bars come first, and midquotes give the minutes that it did not deliver.
    quoted = (midquote_bars(quotes, partition.session) for _, quotes in _batches(lake, partition))
    missing = pl.concat([DELIVERED_BARS.empty(), *quoted]).join(delivered, on=["symbol", "time"], how="anti")
    return reconcile(missing, delivered, built_from="quotes")


def _built(lake: Lake, partition: Partition) -> pl.DataFrame:
    built = (minute_bars(trades, partition.session) for trades, _ in _batches(lake, partition))
    return pl.concat([DELIVERED_BARS.empty(), *built])


def _batches(lake: Lake, partition: Partition) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    if lake.exists(TRADES, partition) or lake.exists(QUOTES, partition):
        yield from symbol_batches(lake, partition)
