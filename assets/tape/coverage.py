"""The coverage certificate of each symbol's day."""

import datetime as dt
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import dagster as dg
import polars as pl

from assets.shared import judgements
from assets.shared.about import about_days
from assets.shared.checks import Check, Checked, key_of, results
from assets.shared.partitions import open_partitions, run_partitions
from assets.shared.shown import named
from resources.lake import Days, LakeResource, LakeTable
from resources.stores import DatabaseResource, SpoolResource
from resources.tape_source import TapeSourceResource
from tapewatch.bars.coverage import coverage as day_coverage
from tapewatch.market.instruments import Market, Partition, Session, trading_days
from tapewatch.market.tables.live import GAPS
from tapewatch.market.tables.tape import COVERAGE
from tapewatch.market.tickers import normalise
from tapewatch.store.spool.files import waiting_for
from tapewatch.streaming.gaps.book import until_merged
from tapewatch.streaming.ingest.ledger import collected_until

_CHECKS = (Check(judgements.gaps, blocks=False),)
_NO_OLD_GAPS = dg.AssetCheckSpec(
    "no_old_gaps", asset=key_of(COVERAGE), description="No gap of the market has been open for more than a day."
)
_OLD = dt.timedelta(days=1)
#: Trading days before today that are counted.
_LOOK_BACK = dt.timedelta(days=30)


#: Other kept days from which a symbol's habit is taken.
_HABIT_DAYS = 5


def _other_days(table: LakeTable, partition: Partition) -> Iterator[tuple[Session, pl.LazyFrame]]:
    """The kept days nearest to a partition."""
    kept = [day for day in table.lake.partitions(table.table, partition.market) if day != partition]
    for day in sorted(kept, key=lambda day: abs(day.date - partition.date))[:_HABIT_DAYS]:
        yield day.session, table.scan(day)


@dg.asset(
    **about_days(COVERAGE, "sqlalchemy", checks=_CHECKS, specs=[_NO_OLD_GAPS]),
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
    yield from results(context, COVERAGE, trades.lake, _CHECKS)
    yield no_old_gaps(pl.concat(gaps).unique("gap_id"), dt.datetime.now(dt.UTC), open_partitions(context))


def no_old_gaps(gaps: pl.DataFrame, now: dt.datetime, judged: Sequence[Partition] = ()) -> dg.AssetCheckResult:
    """Fails on gaps (`GAPS`) that were opened more than a day ago and are neither filled nor given up."""
    unfilled = gaps.filter(pl.col("status").is_in(["growing", "open"]))
    old = unfilled.filter(pl.col("opened_time") < now - _OLD)
    facts = {
        "partition": named(judged),
        "open": unfilled.height,
        "unhealable": gaps.filter(pl.col("status") == "unhealable").height,
        "older_than_a_day": dg.MetadataValue.json(
            {row["gap_id"]: row["reason"] or "not tried yet: is the healer running?" for row in old.to_dicts()}
        ),
    }
    return dg.AssetCheckResult(
        check_name=_NO_OLD_GAPS.name, passed=old.is_empty(), severity=dg.AssetCheckSeverity.ERROR, metadata=facts
    )


@dg.asset_check(
    asset=key_of(COVERAGE),
    name="up_to_date",
    description="Every market that has certificates has that of its last finished trading day. Run by freshness_daily.",
)
def up_to_date(lake: LakeResource) -> dg.AssetCheckResult:
    """Dagster's freshness policies look at the newest run alone; this check looks at the days of each market."""
    return newest_days(lake.open().partitions(COVERAGE), dt.datetime.now(dt.UTC))


def newest_days(certified: Sequence[Partition], now: dt.datetime) -> dg.AssetCheckResult:
    """Fails if the last trading day that ended before `now` is not among a market's `certified` days."""
    facts: dict[str, Any] = {}
    for market in sorted({partition.market for partition in certified}):
        newest = max(partition.date for partition in certified if partition.market is market)
        today = now.date()
        finished = [
            day for day in trading_days(market, today - _LOOK_BACK, today) if _is_over(Partition(day, market), now)
        ]
        facts[market.value] = {"newest": str(newest), "behind_days": sum(day > newest for day in finished)}
    behind = [f"{name} ends on {fact['newest']}" for name, fact in facts.items() if fact["behind_days"]]
    return dg.AssetCheckResult(
        check_name="up_to_date",
        passed=not behind,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(behind) or None,
        metadata={
            **{f"{name}_behind_days": fact["behind_days"] for name, fact in facts.items()},
            **{f"{name}_newest": fact["newest"] for name, fact in facts.items()},
        },
    )


def _is_over(partition: Partition, now: dt.datetime) -> bool:
    return partition.session.day_end <= now.timestamp() * 10**9
