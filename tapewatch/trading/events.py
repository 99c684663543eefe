"""Corporate actions and halts in the lake: stored by day, and read for a tape; halts also from the price bands of the stream."""

import datetime as dt
from collections.abc import Sequence

import polars as pl

from tapewatch.market.instruments import Market, Partition, day_of, trading_days
from tapewatch.market.schema import Table
from tapewatch.market.tables.stream import PRICE_BANDS
from tapewatch.market.tables.tape import TIME
from tapewatch.market.tables.trading import CORPORATE_ACTIONS, HALTS
from tapewatch.store.lake.lake import Lake

_STARTS = {CORPORATE_ACTIONS.name: "time", HALTS.name: "start_time"}
#: The stream's indicators of a halt and of its end (LULD channel, stocks listed on Nasdaq).
HALTED, RESUMED = "17", "18"


def store_events(
    lake: Lake, table: Table, market: Market, rows: pl.DataFrame, first: dt.date, last: dt.date, symbols: Sequence[str]
) -> int:
    """Replace what the lake has of some symbols from `first` to `last` by `rows`; returns how many were stored.

    Args:
        table: `CORPORATE_ACTIONS` or `HALTS`.
        rows: of that table; those of other symbols or days are left out.
        symbols: whose rows are replaced.
    """
    of_these = pl.col("symbol").cast(pl.String).is_in(list(symbols))
    rows = table.conform(rows).filter(of_these)
    starts = rows[_STARTS[table.name]].dt.epoch("ns").to_list()
    dates = pl.Series("date", [day_of(market, at) for at in starts], dtype=pl.Date)
    stored = 0
    for date in trading_days(market, first, last):
        day, new = Partition(date, market), rows.filter(dates == date)
        has_old = lake.exists(table, day)
        kept = lake.read(table, day).filter(~of_these) if has_old else table.empty()
        if new.height or kept.height:
            lake.write(table, day, pl.concat([kept, new]), allow_shrink=True)
        elif has_old:
            lake.remove(table, day)
        stored += new.height
    return stored


def stored_events(
    lake: Lake, table: Table, market: Market, first: dt.date, last: dt.date, symbols: Sequence[str] | None = None
) -> pl.DataFrame:
    """Rows of `CORPORATE_ACTIONS` or `HALTS` that the lake has of some symbols (None for all) from `first` to `last`."""
    days = (Partition(date, market) for date in trading_days(market, first, last))
    found = pl.concat([table.empty(), *(lake.read(table, day) for day in days if lake.exists(table, day))])
    return found if symbols is None else found.filter(pl.col("symbol").cast(pl.String).is_in(list(symbols)))


def halts_of_days(
    lake: Lake, market: Market, first: dt.date, last: dt.date, symbols: Sequence[str] | None = None
) -> pl.DataFrame:
    """`HALTS` of some symbols (None for all): those that were stored, and on days without a stored one those that the stream's bands tell."""
    stored = stored_events(lake, HALTS, market, first, last, symbols)
    days = [
        day for date in trading_days(market, first, last) if lake.exists(PRICE_BANDS, day := Partition(date, market))
    ]
    bands = (lake.read(PRICE_BANDS, day) for day in days if not lake.exists(HALTS, day))
    told = pl.concat([HALTS.empty(), *map(halts_of_bands, bands)])
    is_wanted = pl.lit(value=True) if symbols is None else pl.col("symbol").cast(pl.String).is_in(list(symbols))
    return pl.concat([stored, told.filter(is_wanted)])


def halts_of_bands(bands: pl.DataFrame) -> pl.DataFrame:
    """`HALTS` that the indicators of `PRICE_BANDS` tell: from a 17 to the next 18; open where none follows."""
    codes = pl.col("indicators").cast(pl.String).str.split(",")
    marks = (
        bands.select(
            pl.col("symbol").cast(pl.String),
            pl.col("time").cast(TIME),
            is_halt=pl.when(codes.list.contains(HALTED)).then(True).when(codes.list.contains(RESUMED)).then(False),
        )
        .drop_nulls("is_halt")
        .sort("symbol", "time")
        # A halt that is told again begins once.
        .filter((pl.col("is_halt") != pl.col("is_halt").shift().over("symbol")).fill_null(value=True))
        .with_columns(end_time=pl.col("time").shift(-1).over("symbol"))
        .filter("is_halt")
    )
    return HALTS.conform(marks.select("symbol", start_time="time", end_time="end_time"))
