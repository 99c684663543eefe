"""Daily bars held against their neighbours."""

import datetime as dt
import sys
from typing import Annotated

import typer
from rich.console import Console

from orchestration.cli.commands.options import DATE, FlatFilesOption, Format, settings_with
from orchestration.errors import console, reports_errors
from tapewatch.market.instruments import Market

app = typer.Typer()


@app.command()
@reports_errors
def daily(
    flat_files: FlatFilesOption = None,
    market: Annotated[Market, typer.Option("--market", "-m", help="the market whose days are judged")] = Market.STOCKS,
    symbols: Annotated[str | None, typer.Option(help="comma-separated; all that the files hold by default")] = None,
    first: Annotated[
        dt.datetime | None,
        typer.Option("--from", formats=DATE, metavar="YYYY-MM-DD", help="first day; by default the oldest there is"),
    ] = None,
    last: Annotated[
        dt.datetime | None,
        typer.Option("--to", formats=DATE, metavar="YYYY-MM-DD", help="last day, included; by default the newest"),
    ] = None,
    form: Annotated[
        Format, typer.Option("--format", help="CSV has columns date, symbol, kind, field, value, expected, deviation")
    ] = Format.TABLE,
) -> None:
    """Find impossible prices in daily bars, and keep each as an alert.

    Reads the folder day_aggs_v1 of the market: the vendor's files, one a day, or
    one a year (day_aggs_v1/2013.csv.gz). A bad price agrees neither with the days
    around nor with its own day; a price shock is a new level that no split
    explains. Each is an alert of the rule daily_price (tapewatch alerts); judging
    twice equals once.

    [dim]tapewatch daily --flat-files ~/flatfiles
    tapewatch daily --flat-files ~/flatfiles --symbols GOOG,IBM
    tapewatch daily --from 2024-01-01 --format csv > days.csv[/]
    """
    from orchestration.cli import daily_listing as listing  # noqa: PLC0415
    from orchestration.runs.daily import judge  # noqa: PLC0415

    judged = judge(
        settings_with(flat_files),
        market,
        first and first.date(),
        last and last.date(),
        symbols,
        dt.datetime.now(dt.UTC),
    )
    match form:
        case Format.CSV:
            sys.stdout.write(listing.as_csv(judged.found))
        case Format.JSON:
            sys.stdout.write(listing.as_json(judged.found))
        case Format.TABLE:
            Console().print(listing.as_table(judged.found))
    console.print(judged.summary, highlight=False)
