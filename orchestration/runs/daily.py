"""Finds impossible prices in a folder of daily bars, and stores them as alerts."""

import datetime as dt
from dataclasses import dataclass

import polars as pl

from orchestration.errors import RunError
from orchestration.runs.backfill import parse_symbols
from tapewatch.daily import alerts
from tapewatch.daily.anomalies import daily_anomalies
from tapewatch.feeds.files.daily import daily_bars
from tapewatch.feeds.files.source import FlatFileSource
from tapewatch.market.instruments import Market
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database


@dataclass(frozen=True, slots=True)
class DailyResult:
    """The anomalies (columns of `daily_anomalies` after `date`), and a one-line summary."""

    found: pl.DataFrame
    summary: str


def judge_daily_bars(
    settings: Settings, market: Market, first: dt.date | None, last: dt.date | None, symbols: str | None
) -> DailyResult:
    """Find impossible prices in the settings' flat files and store them as alerts.

    Args:
        first, last: both included; None for the whole folder. The days around are read too, but not reported.
        symbols: comma-separated, in any spelling; None for all.

    Raises:
        RunError: no flat files are set, the range is reversed, or a symbol is misspelt.
        SourceError: there are no daily bars, or they cannot be read.
        DatabaseError: the alerts cannot be stored.
    """
    if settings.flat_files is None:
        raise RunError("no flat files to read: name their folder with --flat-files, or set TAPEWATCH_FLAT_FILES")
    if first and last and last < first:
        raise RunError(f"the range ends on {last}, before it begins on {first}")
    source = FlatFileSource(settings.flat_files)
    source.expect_folder()
    bars = daily_bars(
        source,
        market,
        first,
        last,
        None if symbols is None else list(parse_symbols(symbols, market)),
    )
    found = alerts.with_dates(daily_anomalies(bars.frame), market)
    found = found.filter(pl.col("date").is_between(first or dt.date.min, last or dt.date.max))
    with Database(settings.database) as database:
        new = alerts.record(database, market, found.drop("date"), dt.datetime.now(dt.UTC))
    refused = f", {bars.refused:,} unreadable rows left out" if bars.refused else ""
    return DailyResult(
        found, f"{bars.frame.height:,} bars read{refused}; {found.height:,} found, {new:,} of them new alerts"
    )
