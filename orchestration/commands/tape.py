"""The tape and what follows from it, over a range of days."""

from typing import Annotated

import typer

from orchestration.commands.options import FirstOption, FlatFilesOption, LastOption, MarketOption, settings_with
from orchestration.errors import console, reports_errors

app = typer.Typer()


@app.command()
@reports_errors
def backfill(
    market: MarketOption,
    first: FirstOption,
    last: LastOption,
    flat_files: FlatFilesOption = None,
    force: Annotated[bool, typer.Option("--force", help="fetch days again that are in the lake already")] = False,
) -> None:
    """Fetch trades, quotes and bars of a range of days into the lake, and no more.

    Each day is committed whole, and days that are there are kept: a backfill that was killed goes on where it was.

    [dim]tapewatch backfill --market stocks --from 2024-06-03 --to 2024-06-07
    tapewatch backfill -m stocks --from 2013-10-07 --to 2013-10-09 --flat-files ~/flatfiles --force[/]
    """
    from orchestration.lineage import fetch, sourced  # noqa: PLC0415

    with sourced(settings_with(flat_files), console) as (settings, _):
        fetch(settings, market, first.date(), last.date(), console, keep_existing=not force)


@app.command()
@reports_errors
def run(
    market: MarketOption,
    first: FirstOption,
    last: LastOption,
    flat_files: FlatFilesOption = None,
    force: Annotated[bool, typer.Option("--force", help="fetch days again that are in the lake already")] = False,
) -> None:
    """The whole lineage over a range of days: tape, features, labels, detector, Bento, anomalies, report.

    [dim]tapewatch run --market stocks --from 2013-10-07 --to 2013-10-09 --flat-files ~/flatfiles
    tapewatch run --market crypto --from 2024-06-03 --to 2024-06-07[/]
    """
    from orchestration import outcome  # noqa: PLC0415
    from orchestration.lineage import materialize, sourced  # noqa: PLC0415

    with sourced(settings_with(flat_files), console) as (settings, source):
        days, report = materialize(settings, [market], first.date(), last.date(), console, keep_existing=not force)
    summary = outcome.summarise(settings, days, report, title=f"Tapewatch {market}", source=source)
    outcome.show(console, summary)
    outcome.show_checks(console, report)
    console.print(f"Report: {outcome.write(settings, summary)}", soft_wrap=True)
