"""Ranges of rows, base bars from trades, and windows over base bars as the vendor aggregates them."""

import datetime as dt

import numpy as np
import polars as pl

from tapewatch.market.conditions import STOCK_UPDATE_RULES, Updates, update_flags
from tapewatch.market.instruments import Market, Session, zone_of
from tapewatch.market.tables.tape import DELIVERED_BARS, TIME

#: The widths that a request may name, and the width of the base bars that each is built from.
BASES = {
    "second": "second",
    "minute": "minute",
    "hour": "minute",
    "day": "day",
    "week": "day",
    "month": "day",
    "quarter": "day",
    "year": "day",
}

_CLOCK_NS = {"second": 1_000_000_000, "minute": 60_000_000_000, "hour": 3_600_000_000_000}
_CALENDAR = {"month": "mo", "quarter": "q", "year": "y"}
# The Sunday on which the first whole week after the epoch begins, as a day number.
_FIRST_SUNDAY = 3
_WITHDRAWN = 7


def second_bars(trades: pl.DataFrame, session: Session) -> pl.DataFrame:
    """Bars of one second (`DELIVERED_BARS`), by the vendor's update rules."""
    return _bars(trades, session, pl.col("time").dt.truncate("1s"), is_daily=False)


def day_bar(trades: pl.DataFrame, session: Session) -> pl.DataFrame:
    """The day's bar (`DELIVERED_BARS`, no row without an eligible trade). Extended hours add to the volume only."""
    return _bars(trades, session, pl.lit(session.day_start).cast(TIME), is_daily=True)


def windows(bars: pl.DataFrame, multiplier: int, timespan: str, market: Market, anchor: dt.date) -> pl.DataFrame:
    """Bars merged into windows of `multiplier` times `timespan`, each at its window's start.

    Windows up to hours count from local midnight, windows of days from `anchor`. Weeks begin on Sunday, longer windows
    on the calendar's first day.
    """
    if bars.is_empty() or (multiplier == 1 and BASES[timespan] == timespan):
        return bars
    return merged(bars, window_start(multiplier, timespan, market, anchor))


def merged(bars: pl.DataFrame, start: pl.Expr) -> pl.DataFrame:
    """Bars (`DELIVERED_BARS`) of one symbol merged into those that begin at `start`."""

    def has_all(name: str) -> pl.Expr:
        return pl.col(name).is_not_null().all()

    notional = (pl.col("vwap") * pl.col("volume")).sum()
    return (
        bars.with_columns(time=start)
        .group_by("time", maintain_order=True)
        .agg(
            pl.col("symbol", "open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
            pl.col("volume").sum(),
            # A recorded bar may lack either.
            vwap=pl.when(has_all("vwap") & (pl.col("volume").sum() > 0)).then(notional / pl.col("volume").sum()),
            transactions=pl.when(has_all("transactions")).then(pl.col("transactions").sum()),
        )
        .select(DELIVERED_BARS.schema.names())
    )


def rows_between(rows: pl.DataFrame, low: int, high: int) -> pl.DataFrame:
    """The rows of `[low, high)`, in ns UTC, of a frame that ascends by `time`."""
    if rows.is_empty():
        return rows
    first, end = np.searchsorted(rows["time"].to_physical().to_numpy(), [low, high])
    return rows.slice(int(first), int(end - first))


def window_start(multiplier: int, timespan: str, market: Market, anchor: dt.date) -> pl.Expr:
    """The start of the window that holds `time`."""
    zone = str(zone_of(market))
    local = pl.col("time").dt.convert_time_zone(zone)
    if timespan in _CLOCK_NS:
        width = multiplier * _CLOCK_NS[timespan]
        midnight = local.dt.truncate("1d").dt.epoch("ns")
        start = midnight + (pl.col("time").dt.epoch("ns") - midnight) // width * width
        return start.cast(TIME)
    if timespan in _CALENDAR:
        return local.dt.truncate(f"{multiplier}{_CALENDAR[timespan]}").dt.convert_time_zone("UTC")
    is_week = timespan == "week"
    width, first = (7 * multiplier, _FIRST_SUNDAY) if is_week else (multiplier, (anchor - dt.date(1970, 1, 1)).days)
    day = first + (local.dt.date().cast(pl.Int32) - first) // width * width
    at_midnight = day.cast(pl.Date).cast(pl.Datetime("ns")).dt.replace_time_zone(zone)
    return at_midnight.dt.convert_time_zone("UTC")


def _bars(trades: pl.DataFrame, session: Session, start: pl.Expr, *, is_daily: bool) -> pl.DataFrame:
    if trades.is_empty():
        return DELIVERED_BARS.empty()
    allowed = _allowed(trades, session, is_daily=is_daily)
    prices, extremes, counted = (
        (pl.col("_allowed") & int(flag)) != 0 for flag in (Updates.OPEN_CLOSE, Updates.HIGH_LOW, Updates.VOLUME)
    )
    volume = pl.col("size").filter(counted).sum()
    price = pl.col("price")
    bars = (
        trades.with_columns(allowed.alias("_allowed"), start.alias("_start"))
        .filter(pl.col("correction").fill_null(0) < _WITHDRAWN)
        .group_by("_start", maintain_order=True)
        .agg(
            pl.col("symbol").first(),
            open=price.filter(prices).first(),
            high=price.filter(extremes).max(),
            low=price.filter(extremes).min(),
            close=price.filter(prices).last(),
            volume=volume,
            vwap=pl.when(volume > 0).then((price * pl.col("size")).filter(counted).sum() / volume),
            transactions=counted.sum().cast(pl.Int64),
        )
        .filter((pl.col("transactions") > 0) | pl.col("open").is_not_null())
        .rename({"_start": "time"})
    )
    return DELIVERED_BARS.conform(_with_last_price(bars))


def _with_last_price(bars: pl.DataFrame) -> pl.DataFrame:
    """Bars without a price take the last close, as minute bars do; before the first close there is no bar."""
    last = pl.col("close").forward_fill()
    filled = bars.with_columns(pl.col("open").fill_null(last), pl.col("close").fill_null(last))
    return filled.filter(pl.col("close").is_not_null()).with_columns(
        high=pl.max_horizontal("high", "open", "close"), low=pl.min_horizontal("low", "open", "close")
    )


def _allowed(trades: pl.DataFrame, session: Session, *, is_daily: bool) -> pl.Expr:
    if session.market is not Market.STOCKS:
        return pl.lit(int(Updates.EVERYTHING))
    texts = trades["conditions"].cast(pl.String).unique().to_list()
    flags = {
        is_extended: pl.col("conditions")
        .cast(pl.String)
        .replace_strict(texts, update_flags(texts, STOCK_UPDATE_RULES, is_extended=is_extended), return_dtype=pl.UInt8)
        for is_extended in (False, True)
    }
    if is_daily:
        return flags[False].cast(pl.Int32)
    time = pl.col("time").dt.epoch("ns")
    is_regular = (time >= session.regular_start) & (time < session.regular_end)
    return pl.when(is_regular).then(flags[False]).otherwise(flags[True]).cast(pl.Int32)
