"""A page from which one learns the data."""

import datetime as dt
from pathlib import Path
from typing import Annotated

import typer

from orchestration.cli.commands.options import DATE
from orchestration.errors import console, reports_errors
from tapewatch.market.instruments import Market
from tapewatch.settings import Settings

app = typer.Typer()


@app.command()
@reports_errors
def profile(
    market: Annotated[
        Market | None, typer.Option("--market", "-m", help="a market; by default the one with the newest day")
    ] = None,
    first: Annotated[
        dt.datetime | None, typer.Option("--from", formats=DATE, metavar="YYYY-MM-DD", help="first day")
    ] = None,
    last: Annotated[
        dt.datetime | None, typer.Option("--to", formats=DATE, metavar="YYYY-MM-DD", help="last day, included")
    ] = None,
    date: Annotated[
        dt.datetime | None, typer.Option(formats=DATE, metavar="YYYY-MM-DD", help="one day, in place of a range")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="the page; by default under TAPEWATCH_HOME/reports")] = None,
) -> None:
    """A page on what was collected: fields and ranges, coverage and gaps, repeats, volatility, volume, spreads, condition codes.

    Takes the five newest days of the market in the lake unless told otherwise.

    [dim]tapewatch profile
    tapewatch profile --market crypto --date 2024-06-03
    tapewatch profile --market stocks --from 2013-10-07 --to 2013-10-09 --out stocks.html[/]
    """
    if date is not None:
        if first is not None or last is not None:
            raise typer.BadParameter("--date names the whole range: leave --from and --to out")
        first = last = date
    if first is not None and last is not None and last < first:
        raise typer.BadParameter(f"the range ends before it begins: {first:%Y-%m-%d} to {last:%Y-%m-%d}")
    from orchestration.runs.profiling import write_profile  # noqa: PLC0415

    page = write_profile(
        Settings(), console, market=market, first=first and first.date(), last=last and last.date(), out=out
    )
    console.print(f"Profile: {page}", soft_wrap=True)
