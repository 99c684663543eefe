"""A symbol's market state over a stretch: runs of the same filtered regime, the lake's and then the live ones."""

import datetime as dt

import polars as pl

from dashboard.reading.days import days_between
from tapewatch.market.instruments import Market
from tapewatch.market.tables.features import REGIMES
from tapewatch.store.database.database import Database
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.many_days import read_symbol

#: Of a longer stretch the last days are read.
MOST_DAYS = 260
#: A gap longer than this ends a run: a night, or blocks without a regime.
_GAP = pl.duration(minutes=15)
_BLOCK = dt.timedelta(minutes=5)


def regime_runs(
    lake: Lake, database: Database, market: Market, symbol: str, start: dt.datetime, end: dt.datetime
) -> pl.DataFrame:
    """The regimes of blocks that overlap [start, end), neighbours of the same one joined; oldest first.

    Each block has the regime that was known at its end, from the blocks until then alone.

    Returns: regime (`calm`, `normal` or `turbulent`), start_time, end_time, probability (mean of that regime's). Empty where there
    are no regimes.
    """
    days = days_between(lake, REGIMES, market, start, end, MOST_DAYS)
    stored = read_symbol(lake, REGIMES, days, symbol, list(REGIMES.schema))
    last = stored["event_time"].max()
    live = database.read(REGIMES, market=market, symbol=symbol, start=start - _BLOCK, end=end).select(stored.columns)
    blocks = pl.concat([stored, live if last is None else live.filter(pl.col("event_time") > last)])
    rows = blocks.filter(pl.col("regime").is_not_null(), pl.col("known_time") > start, pl.col("event_time") < end).sort(
        "event_time"
    )
    regime = pl.col("regime").cast(pl.String)
    states = ("calm", "normal", "turbulent")
    own = pl.coalesce(pl.when(regime == state).then(pl.col(f"probability_{state}")) for state in states)
    begins = (regime != regime.shift()) | (pl.col("event_time") - pl.col("known_time").shift() > _GAP)
    runs = rows.with_columns(regime=regime, probability=own, run=begins.fill_null(value=True).cum_sum())
    return (
        runs.group_by("run", maintain_order=True)
        .agg(
            pl.col("regime").first(),
            start_time=pl.col("event_time").first(),
            end_time=pl.col("known_time").last(),
            probability=pl.col("probability").mean(),
        )
        .drop("run")
    )
