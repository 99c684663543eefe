"""What is usual of a market's minutes on a day, fitted on the days of the lake before it: for the asset and for collectors."""

from typing import Final

import polars as pl

from tapewatch.features.seasonality.measures import COLUMNS, with_more
from tapewatch.features.seasonality.model import SeasonalModel
from tapewatch.market.instruments import Partition
from tapewatch.market.tables.features import MICROSTRUCTURE_MORE
from tapewatch.market.tables.tape import MICROSTRUCTURE
from tapewatch.store.lake.lake import Lake

#: Days of a fit.
DAYS: Final = 10
_KEYS = ("event_time", "known_time")


def seasonal_model(lake: Lake, partition: Partition, days: int = DAYS) -> SeasonalModel | None:
    """The model fitted on the newest `days` days of the partition's market before it; None without any.

    Raises:
        LakeError: the lake cannot be read.
    """
    earlier = [day for day in lake.partitions(MICROSTRUCTURE, partition.market) if day.date < partition.date]
    return SeasonalModel.fit([minutes_of(lake, day) for day in earlier[-days:]])


def minutes_of(lake: Lake, partition: Partition, *, needs_more: bool = False) -> pl.LazyFrame:
    """What seasonality reads of a day's minutes.

    Without further measures where the day has no `MICROSTRUCTURE_MORE`, unless it `needs_more`.

    Raises:
        LakeError: the day lacks a table that it needs.
    """
    rows = lake.scan(MICROSTRUCTURE, partition).select(*_KEYS, *COLUMNS)
    if not needs_more and not lake.exists(MICROSTRUCTURE_MORE, partition):
        return rows
    return with_more(rows, lake.scan(MICROSTRUCTURE_MORE, partition))
