"""The platform's partitions: date × market, and how a run's keys become lake partitions.

They live beside the assets that use them, since assets never import the orchestration around them.
"""

from collections.abc import Iterable, Iterator

import dagster as dg

from tapewatch.market.instruments import Market, Partition, session_of

#: The vendor's stock history begins here.
FIRST_DAY = "2003-09-10"

MARKET_DAYS = dg.MultiPartitionsDefinition(
    {
        "date": dg.DailyPartitionsDefinition(start_date=FIRST_DAY),
        "market": dg.StaticPartitionsDefinition(sorted(market.value for market in Market)),
    }
)
#: A range is one run: the vendor is asked in its best chunks, and a backfill of years does not start a process a day.
ONE_RUN = dg.BackfillPolicy.single_run()


def run_partitions(context: dg.AssetExecutionContext) -> Iterator[Partition]:
    """The partitions of this run on which their market trades, oldest first.

    Raises:
        dg.Failure: none of them is a trading day.
    """
    asked = sorted(Partition.parse(key) for key in context.partition_keys)
    open_days = [partition for partition in asked if session_of(partition.market, partition.date)]
    if not open_days:
        days = ", ".join(f"{p.date:%A} {p}" for p in asked[:3])
        raise dg.Failure(f"no trading day among {days}: choose a day on which the market is open")
    # A range holds closed days too, and Dagster counts all of it as materialized.
    for partition in set(asked).difference(open_days):
        context.add_asset_metadata({"market_closed": True}, partition_key=str(partition))
    yield from open_days


def checked_partitions(context: dg.AssetCheckExecutionContext, existing: Iterable[Partition]) -> list[Partition]:
    """Which of the `existing` partitions a check looks at: those of the run, or the newest of each market without any.

    Checks are not partitioned themselves: a check of a range is one result, and the UI shows the latest one.
    """
    tags = context.run.tags
    if key := tags.get("dagster/partition"):
        return [partition for partition in existing if str(partition) == key]
    if start := tags.get("dagster/asset_partition_range_start"):
        first, last = Partition.parse(start), Partition.parse(tags["dagster/asset_partition_range_end"])
        return [p for p in sorted(existing) if first.date <= p.date <= last.date and p.market is first.market]
    return sorted({partition.market: partition for partition in sorted(existing)}.values())
