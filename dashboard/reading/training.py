"""What people's labels put into the training set, as a file for people."""

import polars as pl

from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.tape import TRAINING_SET
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.many_days import written


def said_minutes(lake: Lake, labels: pl.DataFrame) -> pl.DataFrame:
    """The `TRAINING_SET` rows of which people say something, on the days of `labels` (columns `market`, `date`); oldest day first.

    Days whose labels were not collected yet have none.
    """
    days = sorted(
        Partition(date, Market(market)) for market, date in labels.select("market", "date").unique().iter_rows()
    )
    rows = [
        lake.read(TRAINING_SET, day).filter(pl.col("human_kind").is_not_null())
        for day in written(lake, TRAINING_SET, days)
    ]
    return pl.concat([TRAINING_SET.empty(), *rows])
