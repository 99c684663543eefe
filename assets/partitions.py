"""The platform's partitions, date × market, and those of a run."""

from collections.abc import Iterator

import dagster as dg

from tapewatch.market.instruments import Market, Partition, session_of

#: The vendor's stock history begins here.
FIRST_DAY = "2003-09-10"

MARKET_DAYS = dg.MultiPartitionsDefinition(
    {
        # The stream fills the current day, and a futures session belongs to the day after its start.
        "date": dg.DailyPartitionsDefinition(start_date=FIRST_DAY, end_offset=2),
        "market": dg.StaticPartitionsDefinition(sorted(market.value for market in Market)),
    }
)


def open_partitions(context: dg.AssetExecutionContext) -> list[Partition]:
    """The partitions of this run on which their market trades, oldest first."""
    asked = sorted(Partition.parse(key) for key in context.partition_keys)
    return [partition for partition in asked if session_of(partition.market, partition.date)]


def run_partitions(context: dg.AssetExecutionContext) -> Iterator[Partition]:
    """The same; the closed days among the run's keys are marked in their metadata.

    Raises:
        dg.Failure: none of them is a trading day.
    """
    open_days = open_partitions(context)
    if not open_days:
        days = ", ".join(f"{Partition.parse(key).date:%A} {key}" for key in context.partition_keys[:3])
        raise dg.Failure(f"no trading day among {days}: choose a day on which the market is open")
    # A range includes closed days, and Dagster counts them as materialized.
    for key in set(context.partition_keys).difference(map(str, open_days)):
        context.add_asset_metadata({"market_closed": True}, partition_key=key)
    yield from open_days
