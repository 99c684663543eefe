"""A stretch's features against what is usual for its symbol and day."""

import datetime as dt

import polars as pl

from tapewatch.features.catalog import FEATURES
from tapewatch.market.instruments import Market, Partition, day_of
from tapewatch.market.tables.live import LIVE_MICROSTRUCTURE
from tapewatch.market.tables.tape import MICROSTRUCTURE
from tapewatch.store.database.database import Database
from tapewatch.store.lake.lake import Lake

_LOW, _HIGH = 0.05, 0.95
_SCHEMA = {"feature": pl.String, **dict.fromkeys(("beyond", "value", "low", "median", "high"), pl.Float64)}


def against_normal(
    lake: Lake,
    database: Database,
    market: Market,
    symbol: str,
    start: dt.datetime,
    end: dt.datetime | None,
    most: int = 10,
) -> pl.DataFrame:
    """The catalogue's features that a stretch drives farthest from the usual range of the day's regular minutes.

    Returns: feature, beyond (distance of the value from [low, high] in widths of that range), value (the stretch's most extreme),
    and low, median, high (5th, 50th and 95th percentile of the other minutes), the farthest first. Empty without rows.
    """
    names = [feature.name for feature in FEATURES]
    rows = _minutes(lake, database, market, symbol, start, ["event_time", "is_regular", *names])
    last = end or start + dt.timedelta(minutes=5)
    inside = pl.col("event_time").is_between(start - dt.timedelta(minutes=1), last, closed="right")
    stretch, usual = rows.filter(inside), rows.filter(~inside, "is_regular")
    found = []
    for name in names:
        values, others = (frame[name].cast(pl.Float64).drop_nulls().drop_nans() for frame in (stretch, usual))
        if values.is_empty() or others.len() < 30:
            continue
        low, median, high = (float(others.quantile(q) or 0.0) for q in (_LOW, 0.5, _HIGH))
        value = float(values[(values - median).abs().arg_max() or 0])
        distance = max(value - high, low - value, 0.0)
        if high > low:
            found.append((name, distance / (high - low), value, low, median, high))
    table = pl.DataFrame(found, schema=_SCHEMA, orient="row")
    return table.filter(pl.col("beyond") > 0).sort("beyond", descending=True).head(most)


def _minutes(
    lake: Lake, database: Database, market: Market, symbol: str, time: dt.datetime, columns: list[str]
) -> pl.DataFrame:
    day = Partition(day_of(market, time), market)
    if lake.exists(MICROSTRUCTURE, day):
        return lake.read(MICROSTRUCTURE, day, columns=columns, symbols=[symbol])
    half = dt.timedelta(hours=12)
    return database.read(LIVE_MICROSTRUCTURE, market=market, symbol=symbol, start=time - half, end=time + half).select(
        columns
    )
