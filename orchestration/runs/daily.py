"""Judging a folder of daily bars: read, find, keep."""

import datetime as dt
from dataclasses import dataclass

import polars as pl

from orchestration.errors import RunError
from tapewatch.daily import alerts
from tapewatch.daily.anomalies import daily_anomalies
from tapewatch.feeds.files.daily import daily_bars
from tapewatch.feeds.files.source import FlatFileSource
from tapewatch.market.instruments import Market, SymbolError, normalise
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database


@dataclass(frozen=True, slots=True)
class DailyResult:
    """What was found (`daily_anomalies`, led by `date`), and one line on what was done."""

    found: pl.DataFrame
    summary: str


def judge_daily_bars(
    settings: Settings,
    market: Market,
    first: dt.date | None,
    last: dt.date | None,
    symbols: str | None,
    now: dt.datetime,
) -> DailyResult:
    """Find impossible prices in the settings' flat files and keep them as alerts.

    Args:
        first, last: both included; None for all that is there. The days around are read as well, and not reported.
        symbols: as a person writes them, with commas between; None for all.

    Raises:
        RunError: no flat files are set, the range is none, or a symbol is misspelt.
        SourceError: there are no daily bars, or they cannot be read.
        DatabaseError: the alerts cannot be kept.
    """
    if settings.flat_files is None:
        raise RunError("no flat files to read: name their folder with --flat-files, or set TAPEWATCH_FLAT_FILES")
    if first and last and last < first:
        raise RunError(f"the range ends on {last}, before it begins on {first}")
    bars = daily_bars(FlatFileSource(settings.flat_files), market, first, last, _symbols(symbols, market))
    found = alerts.with_dates(daily_anomalies(bars.frame), market)
    found = found.filter(pl.col("date").is_between(first or dt.date.min, last or dt.date.max))
    with Database(settings.database) as database:
        new = alerts.record(database, market, found.drop("date"), now)
    refused = f", {bars.refused:,} unreadable rows left out" if bars.refused else ""
    return DailyResult(
        found, f"{bars.frame.height:,} bars read{refused}; {found.height:,} found, {new:,} of them new alerts"
    )


def _symbols(written: str | None, market: Market) -> list[str] | None:
    if written is None:
        return None
    try:
        return list(dict.fromkeys(normalise(part, market) for part in written.split(",") if part.strip()))
    except SymbolError as error:
        raise RunError(str(error)) from error
