"""The platform's partitions: date × market, and how a run's keys become lake partitions.

They live beside the assets that use them, since assets never import the orchestration around them.
"""

from collections.abc import Iterator

import dagster as dg

from tapewatch.market.instruments import Market, Partition, session_of

#: The vendor's stock history begins here.
FIRST_DAY = "2003-09-10"

MARKET_DAYS = dg.MultiPartitionsDefinition(
    {
        # The stream fills the day that is on; a futures session belongs to the day after it began.
        "date": dg.DailyPartitionsDefinition(start_date=FIRST_DAY, end_offset=2),
        "market": dg.StaticPartitionsDefinition(sorted(market.value for market in Market)),
    }
)


def open_partitions(context: dg.AssetExecutionContext) -> list[Partition]:
    """The partitions of this run on which their market trades, oldest first."""
    asked = sorted(Partition.parse(key) for key in context.partition_keys)
    return [partition for partition in asked if session_of(partition.market, partition.date)]


def run_partitions(context: dg.AssetExecutionContext) -> Iterator[Partition]:
    """The same, to be worked on: closed days in between are marked so.

    Raises:
        dg.Failure: none of them is a trading day.
    """
    open_days = open_partitions(context)
    if not open_days:
        days = ", ".join(f"{Partition.parse(key).date:%A} {key}" for key in context.partition_keys[:3])
        raise dg.Failure(f"no trading day among {days}: choose a day on which the market is open")
    # A range holds closed days too, and Dagster counts all of it as materialized.
    for key in set(context.partition_keys).difference(map(str, open_days)):
        context.add_asset_metadata({"market_closed": True}, partition_key=key)
    yield from open_days
