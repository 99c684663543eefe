"""The tape and what follows from it, over a range of days."""

import datetime as dt
from typing import Annotated

import typer

from orchestration.cli.commands.options import (
    DATE,
    FirstOption,
    FlatFilesOption,
    LastOption,
    MarketOption,
    settings_with,
)
from orchestration.errors import console, reports_errors

app = typer.Typer()
#: What a shell reports for a command that Ctrl-C ended.
INTERRUPTED = 130


@app.command()
@reports_errors
def backfill(
    market: MarketOption,
    first: Annotated[
        dt.datetime | None,
        typer.Option("--from", formats=DATE, metavar="YYYY-MM-DD", help="first day; by default as the plan suggests"),
    ] = None,
    last: Annotated[
        dt.datetime | None,
        typer.Option(
            "--to", formats=DATE, metavar="YYYY-MM-DD", help="last day, included; by default the last that is over"
        ),
    ] = None,
    symbols: Annotated[
        str | None,
        typer.Option("--symbols", help="commas between, in any of the vendor's spellings: X:BTCUSD, BTC-USD"),
    ] = None,
    flat_files: FlatFilesOption = None,
    force: Annotated[
        bool, typer.Option("--force", metavar="", help="fetch days again that are in the lake already")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", metavar="", help="say what would be fetched and what it costs, and stop")
    ] = False,
) -> None:
    """Fetch trades, quotes and bars of a range of days into the lake, and no more.

    Without a range it takes the last days that the plan shows. What the plan does
    not reach is left out and said; calls and time are estimated before it starts.
    Each day is committed whole, and days that are there are kept: a backfill that
    was stopped by Ctrl-C (exit code 130) or killed goes on where it was.

    [dim]tapewatch backfill --market crypto --symbols BTC-USD,ETH-USD
    tapewatch backfill --market stocks --from 2024-06-03 --to 2024-06-07 --dry-run
    tapewatch backfill -m stocks --from 2013-10-07 --to 2013-10-09 --flat-files ~/flatfiles --force[/]
    """
    from orchestration.runs import backfill as plans  # noqa: PLC0415
    from orchestration.runs.lineage import fetch, sourced  # noqa: PLC0415

    chosen = plans.with_symbols(settings_with(flat_files), market, symbols)
    with sourced(chosen, console) as (settings, _):
        plan = plans.plan_backfill(
            settings, market, first and first.date(), last and last.date(), keep_existing=not force
        )
        plans.show(console, plan)
        if dry_run:
            return
        plans.ask_first(settings, plan)
        try:
            fetch(settings, market, plan.first, plan.last, console, keep_existing=not force)
        except KeyboardInterrupt:
            console.print(plans.how_to_go_on(settings, plan, is_forced=force), soft_wrap=True)
            raise typer.Exit(INTERRUPTED) from None


@app.command()
@reports_errors
def run(
    market: MarketOption,
    first: FirstOption,
    last: LastOption,
    flat_files: FlatFilesOption = None,
    force: Annotated[
        bool, typer.Option("--force", metavar="", help="fetch days again that are in the lake already")
    ] = False,
) -> None:
    """The whole lineage over a range of days: tape, features, labels, detector, Bento, anomalies, report.

    [dim]tapewatch run --market stocks --from 2013-10-07 --to 2013-10-09 --flat-files ~/flatfiles
    tapewatch run --market crypto --from 2024-06-03 --to 2024-06-07[/]
    """
    from orchestration.runs.lineage import materialize, sourced  # noqa: PLC0415

    with sourced(settings_with(flat_files), console) as (settings, source):
        days, report = materialize(settings, [market], first.date(), last.date(), console, keep_existing=not force)
    from orchestration.runs import outcome  # noqa: PLC0415

    summary = outcome.summarise(settings, days, report, title=f"Tapewatch {market}", source=source)
    outcome.show(console, summary)
    outcome.show_checks(console, report)
    console.print(f"Report: {outcome.write(settings, summary)}", soft_wrap=True)
