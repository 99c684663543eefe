"""`tapewatch profile`."""

import datetime as dt
from pathlib import Path
from typing import Annotated

import typer

from orchestration.cli.commands.options import day_option, show_waiting
from orchestration.errors import console, reports_errors
from tapewatch.market.instruments import Market
from tapewatch.settings import Settings

app = typer.Typer()


@app.command()
@reports_errors
def profile(
    market: Annotated[
        Market | None, typer.Option("--market", "-m", help="the market; by default the one with the newest day")
    ] = None,
    first: Annotated[dt.datetime | None, day_option("--from", "first day")] = None,
    last: Annotated[dt.datetime | None, day_option("--to", "last day, included")] = None,
    date: Annotated[dt.datetime | None, day_option("one day, instead of a range")] = None,
    out: Annotated[Path | None, typer.Option(help="file of the page; by default in TAPEWATCH_HOME/reports")] = None,
) -> None:
    """Write a page about the tape in the lake: fields, coverage, gaps, duplicates, volatility, volume, spreads, condition codes.

    By default it covers the market's five newest days.

    [dim]tapewatch profile
    tapewatch profile --market crypto --date 2024-06-03
    tapewatch profile --market stocks --from 2013-10-07 --to 2013-10-09 --out stocks.html[/]
    """
    if date is not None:
        if first is not None or last is not None:
            raise typer.BadParameter("--date replaces the range: leave --from and --to out")
        first = last = date
    if first is not None and last is not None and last < first:
        raise typer.BadParameter(f"the range ends before it begins: {first:%Y-%m-%d} to {last:%Y-%m-%d}")
    from orchestration.runs.profiling import write_profile  # noqa: PLC0415

    page = write_profile(
        Settings(), console, market=market, first=first and first.date(), last=last and last.date(), out=out
    )
    console.print(f"Profile: {page}", soft_wrap=True, markup=False)
    show_waiting(Settings())
