"""The coverage certificate of each symbol's day."""

import datetime as dt
from collections.abc import Generator, Iterator

import dagster as dg
import polars as pl

from assets.about import about_days
from assets.checks import Checked, no_old_gaps, results
from assets.partitions import run_partitions
from resources.lake import Days, LakeTable
from resources.stores import DatabaseResource, SpoolResource
from resources.tape_source import TapeSourceResource
from tapewatch.bars.coverage import coverage as day_coverage
from tapewatch.market.instruments import Market, Partition, Session, normalise
from tapewatch.market.live_tables import GAPS
from tapewatch.market.tables import COVERAGE
from tapewatch.store.spool.files import waiting_for
from tapewatch.streaming.gaps.book import until_merged
from tapewatch.streaming.ingest.ledger import collected_until

#: Other kept days from which a symbol's habit is taken.
_HABIT_DAYS = 5


def _other_days(table: LakeTable, partition: Partition) -> Iterator[tuple[Session, pl.LazyFrame]]:
    """The kept days nearest to a partition."""
    kept = [day for day in table.lake.partitions(table.table, partition.market) if day != partition]
    for day in sorted(kept, key=lambda day: abs(day.date - partition.date))[:_HABIT_DAYS]:
        yield day.session, table.scan(day)


@dg.asset(
    **about_days(COVERAGE, "sqlalchemy"),
    ins={name: dg.AssetIn(["tape", name]) for name in ("trades", "quotes", "bars")},
)
def coverage(
    context: dg.AssetExecutionContext,
    trades: LakeTable,
    quotes: LakeTable,
    bars: LakeTable,
    tape_source: TapeSourceResource,
    database: DatabaseResource,
    spool: SpoolResource,
) -> Checked:
    """How complete each symbol's day is; a watched symbol without any row has a certificate too."""
    store, gaps = database.open(), [GAPS.empty()]

    def of(p: Partition) -> pl.DataFrame:
        end = dt.datetime.fromtimestamp(p.session.day_end // 10**9, dt.UTC)
        gaps.append(store.read(GAPS, market=p.market, end=end).select(GAPS.schema.names()))
        # In this order: the rows of a healed gap are then either in the spool or in the lake.
        heals = [file.heals for file in waiting_for(spool.path, p) if file.heals]
        watched = () if tape_source.flat_files else tape_source.symbols.get(p.market, ())
        return day_coverage(
            trades.scan(p),
            quotes.scan(p),
            bars.scan(p),
            p.session,
            symbols=[normalise(symbol, p.market) for symbol in watched],
            gaps=until_merged(gaps[-1], heals),
            known_until=collected_until(trades.lake, p),
            other_days=_other_days(quotes if p.market is Market.FOREX else bars, p),
        )

    def days() -> Generator[tuple[Partition, pl.DataFrame], None, None]:
        for partition in run_partitions(context):
            rows = of(partition)
            yield partition, rows
            store.upsert(COVERAGE, partition, rows)

    yield dg.Output(Days(days()))
    yield from results(context, COVERAGE, trades.lake)
    yield no_old_gaps(pl.concat(gaps).unique("gap_id"), dt.datetime.now(dt.UTC))
