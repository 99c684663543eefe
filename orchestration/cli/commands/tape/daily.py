"""`tapewatch daily`."""

import datetime as dt
from typing import Annotated

import typer

from orchestration.cli.commands.options import FlatFilesOption, day_option, settings_with
from orchestration.cli.listing import Column, Field, Format, Listing, counted
from orchestration.errors import console, reports_errors
from tapewatch.market.instruments import Market

app = typer.Typer()
LISTING = Listing(
    lambda rows: f"{counted('day')(rows)} with prices that cannot be, or shocks",
    columns=(
        *map(Column, ("date", "symbol")),
        Column("kind", lambda row: row["kind"].replace("_", " ")),
        Column("field"),
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
    market: Annotated[Market, typer.Option("--market", "-m", help="the market of the bars")] = Market.STOCKS,
    symbols: Annotated[str | None, typer.Option(help="comma-separated; by default all symbols in the files")] = None,
    first: Annotated[dt.datetime | None, day_option("--from", "first day; by default the oldest in the files")] = None,
    last: Annotated[
        dt.datetime | None, day_option("--to", "last day, included; by default the newest in the files")
    ] = None,
    form: Annotated[
        Format,
        typer.Option("--format", help="CSV has the columns date, symbol, kind, field, value, expected, deviation"),
    ] = Format.TABLE,
) -> None:
    """Find impossible prices in daily bars, and store each as an alert.

    It reads the market's folder day_aggs_v1 (of futures session_aggs_v1): the vendor's
    files of one day each, or files of a year (day_aggs_v1/2013.csv.gz). A bad price agrees neither with
    the days around it nor with its own day. A price shock is a new level that no
    split explains. Both become alerts of the rule daily_price (tapewatch alerts).
    A second run over the same files adds nothing.

    [dim]tapewatch daily --flat-files ~/flatfiles
    tapewatch daily --flat-files ~/flatfiles --symbols GOOG,IBM
    tapewatch daily --from 2024-01-01 --format csv > days.csv[/]
    """
    from orchestration.runs.daily import judge_daily_bars  # noqa: PLC0415

    days = (first and first.date(), last and last.date())
    judged = judge_daily_bars(settings_with(flat_files), market, *days, symbols)
    LISTING.show(judged.found.to_dicts(), form)
    console.print(judged.summary, highlight=False)
