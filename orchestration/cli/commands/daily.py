"""Daily bars held against their neighbours."""

import datetime as dt
from typing import Annotated

import typer

from orchestration.cli.commands.options import DATE, FlatFilesOption, settings_with
from orchestration.cli.listing import Column, Field, Format, Listing, counted
from orchestration.errors import console, reports_errors
from tapewatch.market.instruments import Market

app = typer.Typer()
LISTING = Listing(
    lambda rows: f"{counted('day')(rows)} with prices that cannot be, or shocks",
    columns=(
        Column("date", lambda row: str(row["date"])),
        Column("symbol", lambda row: row["symbol"]),
        Column("kind", lambda row: row["kind"].replace("_", " ")),
        Column("field", lambda row: row["field"]),
        Column("value", lambda row: f"{row['value']:g}", is_number=True),
        Column("expected", lambda row: f"{row['expected']:g}", is_number=True),
        Column("multiple", lambda row: f"{row['value'] / row['expected']:.3g}", is_number=True),
    ),
    fields=(
        Field("date", lambda row: row["date"].isoformat()),
        *map(Field, ("symbol", "kind", "field", "value", "expected")),
        Field("deviation"),  # log of value over expected
    ),
)


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
    from orchestration.runs.daily import judge_daily_bars  # noqa: PLC0415

    judged = judge_daily_bars(
        settings_with(flat_files),
        market,
        first and first.date(),
        last and last.date(),
        symbols,
        dt.datetime.now(dt.UTC),
    )
    LISTING.show(judged.found.to_dicts(), form)
    console.print(judged.summary, highlight=False)
