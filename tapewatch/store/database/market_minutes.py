"""The rows of `market_microstructure` that the lake's day gives, in place of those that came live."""

import polars as pl

from tapewatch.market.instruments import Partition
from tapewatch.market.tables.features import MARKET_MICROSTRUCTURE
from tapewatch.store.database.database import Database

_KEY = list(MARKET_MICROSTRUCTURE.key)


def store_market_minutes(database: Database, partition: Partition, rows: pl.DataFrame) -> int:
    """Write a day's rows, and remove those up to its last minute that are not among them.

    Twice equals once. Later minutes stay: a collector may have written them.

    Returns: how many rows were removed.

    Raises:
        DatabaseError: the database refuses. Written again, the day is whole.
    """
    database.upsert(MARKET_MICROSTRUCTURE, partition, rows)
    last = rows["event_time"].max()
    if last is None:
        return 0
    stored = database.read(MARKET_MICROSTRUCTURE, market=partition.market, where={"date": partition.date})
    rest = _keys(stored.filter(pl.col("event_time") <= last)).join(_keys(rows), on=_KEY, how="anti")
    return database.remove(MARKET_MICROSTRUCTURE, partition, rest)


def _keys(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(pl.col("symbol").cast(pl.String), "event_time")
