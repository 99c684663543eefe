"""The platform's partitions, date × market, and those of a run."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from tapewatch.market.instruments import Market, Partition, session_of, trading_days

#: Dagster's tags of a run over a range of partitions, and ours of the whole range of which a worker computes a part.
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
WHOLE_START, WHOLE_END = "tapewatch/whole_range_start", "tapewatch/whole_range_end"
#: The tag of an asset that computes each day by itself, so that workers may share the days of a run.
DAYS_TAG, INDEPENDENT = "tapewatch/days", "independent"
#: The vendor's stock history begins here.
FIRST_DAY = "2003-09-10"


class _MarketDays(dg.MultiPartitionsDefinition):
    """The keys are listed once a day. Dagster lists all 50,000 anew for each partitioned input of an unpartitioned step."""

    def __init__(self, partitions_defs: Mapping[str, dg.PartitionsDefinition]) -> None:
        super().__init__(partitions_defs)
        self._listed: dict[str | None, Sequence[dg.MultiPartitionKey]] = {}

    def get_partition_keys(
        self, current_time: dt.datetime | None = None, dynamic_partitions_store: Any = None
    ) -> Sequence[dg.MultiPartitionKey]:
        with dg.partition_loading_context(current_time, dynamic_partitions_store):
            last = self.get_partitions_def_for_dimension("date").get_last_partition_key()
            found = self._listed.get(last)
            if found is None:
                found = super().get_partition_keys()
                self._listed = {last: found}
        return found


def market_days(start: str) -> dg.MultiPartitionsDefinition:
    """The days of every market from `start` (ISO) to tomorrow."""
    return _MarketDays(
        {
            # The stream fills the current day, and a futures session belongs to the day after its start.
            "date": dg.DailyPartitionsDefinition(start_date=start, end_offset=2),
            "market": dg.StaticPartitionsDefinition(sorted(market.value for market in Market)),
        }
    )


MARKET_DAYS = market_days(FIRST_DAY)


def starting(assets: Sequence[Any], start: dt.date) -> Sequence[Any]:
    """`assets` with partitions that begin on `start`, so that the UI counts no day before it as missing."""
    days = market_days(str(start))
    return dg.map_asset_specs(
        lambda spec: spec.replace_attributes(partitions_def=days) if spec.partitions_def == MARKET_DAYS else spec,
        assets,
    )


def first_day(served: dg.RepositoryDefinition | None) -> dt.date:
    """The first day of the partitions that a code location serves: a request for an earlier one would fail."""
    starts = [dt.date.fromisoformat(FIRST_DAY)]
    for asset in served.assets_defs_by_key.values() if served else ():
        if isinstance(asset.partitions_def, dg.MultiPartitionsDefinition):
            days = asset.partitions_def.get_partitions_def_for_dimension("date")
            starts += [days.start.date()] if isinstance(days, dg.DailyPartitionsDefinition) else []
    return max(starts)


def open_partitions(context: dg.AssetExecutionContext) -> list[Partition]:
    """The partitions of this run on which their market trades, oldest first."""
    asked = sorted(Partition.parse(key) for key in context.partition_keys)
    return [partition for partition in asked if session_of(partition.market, partition.date)]


def whole_range(context: dg.AssetExecutionContext) -> list[Partition]:
    """The same of the whole run, of which a worker may compute a part."""
    start, end = (context.run.tags.get(name) for name in (WHOLE_START, WHOLE_END))
    if start is None or end is None:
        return open_partitions(context)
    first, last = Partition.parse(start), Partition.parse(end)
    return [Partition(day, first.market) for day in trading_days(first.market, first.date, last.date)]


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
