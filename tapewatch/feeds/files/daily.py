"""Daily bars of a range of days from the vendor's flat files, with a margin of days around it."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from tapewatch.feeds.files.source import FlatFileSource
from tapewatch.feeds.source import SourceError
from tapewatch.market.instruments import Market, zone_of
from tapewatch.market.tables.tape import F64, SYMBOL, TIME

DAILY = pl.Schema({"symbol": SYMBOL, "time": TIME, "open": F64, "high": F64, "low": F64, "close": F64})
#: Read beyond either end, for the usual range of the days at the ends.
_MARGIN = dt.timedelta(days=60)


@dataclass(frozen=True, slots=True)
class DailyBars:
    """Daily bars (`DAILY`) sorted by symbol and time, and how many rows of the files were refused."""

    frame: pl.DataFrame
    refused: int


def market_date(market: Market) -> pl.Expr:
    """The market's day of `time`: the date in its zone, but for futures that of the session, begun the evening before."""
    local = pl.col("time").dt.convert_time_zone(str(zone_of(market)))
    return (local.dt.offset_by("6h") if market is Market.FUTURES else local).dt.date()


def daily_bars(
    source: FlatFileSource,
    market: Market,
    first: dt.date | None = None,
    last: dt.date | None = None,
    symbols: Sequence[str] | None = None,
) -> DailyBars:
    """The bars of a range, both ends included, and of two months around it; about 50 bytes of memory per bar.

    Args:
        first, last: days in the market's time zone; None for no limit.
        symbols: None for all.

    Raises:
        SourceError: there are no daily bars of the market, or none of that range; a file cannot be read.
    """
    start, end = first or dt.date.min + _MARGIN, last or dt.date.max - _MARGIN
    years = source.day_bar_years(market)
    wanted = [year for year in years if (start - _MARGIN).year <= year <= (end + _MARGIN).year]
    if not any(start.year <= year <= end.year for year in wanted):
        held = f"there are {years[0]} to {years[-1]}" if years else "there are none"
        raise SourceError(f"no daily bars of {market} in the requested range under {source.root}: {held}")
    frames, refused = [DAILY.to_frame()], 0
    for year in wanted:
        load = source.day_bars(market, year, symbols)
        frames += [frame.select(DAILY.names()) for frame in load]
        refused += load.quarantine.height
    day = market_date(market)
    bars = pl.concat(frames).filter(day.is_between(start - _MARGIN, end + _MARGIN))
    return DailyBars(bars.sort(pl.col("symbol").cast(pl.String), "time"), refused)
