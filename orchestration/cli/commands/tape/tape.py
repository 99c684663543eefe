"""`tapewatch backfill` and `run`: jobs over a range of days."""

import datetime as dt
from typing import Annotated

import typer

from orchestration.cli.commands.options import (
    FirstOption,
    FlatFilesOption,
    LastOption,
    MarketsOption,
    day_option,
    markets_of,
    settings_with,
)
from orchestration.errors import console, reports_errors

app = typer.Typer()
#: The exit code that shells report for a command that Ctrl-C ended.
INTERRUPTED = 130


@app.command()
@reports_errors
def backfill(
    market: MarketsOption,
    first: Annotated[dt.datetime | None, day_option("--from", "first day; by default chosen by the plan")] = None,
    last: Annotated[
        dt.datetime | None, day_option("--to", "last day, included; by default the last finished day")
    ] = None,
    symbols: Annotated[
        str | None, typer.Option("--symbols", help="comma-separated, in any spelling of the vendor: X:BTCUSD, BTC-USD")
    ] = None,
    flat_files: FlatFilesOption = None,
    force: Annotated[
        bool, typer.Option("--force", metavar="", help="fetch days again that the lake already holds")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", metavar="", help="show what would be fetched and its cost, and stop")
    ] = False,
) -> None:
    """Fetch the trades, quotes and bars of a range of days into the lake.

    By default it fetches the most recent days that the plan allows. Days outside
    the plan are left out, with a note. Calls and time are estimated first. Each
    day is committed whole, and days that the lake holds are kept: after Ctrl-C
    (exit code 130) or a kill, the same command continues.

    Each market is a run of its own. If one of several cannot run, the others do;
    the summary names the result of each, and the exit code is 1.

    [dim]tapewatch backfill --market crypto --symbols BTC-USD,ETH-USD
    tapewatch backfill --market stocks --from 2024-06-03 --to 2024-06-07 --dry-run
    tapewatch backfill --market stocks,crypto --from 2024-06-03 --to 2024-06-07
    tapewatch backfill -m stocks --from 2013-10-07 --to 2013-10-09 --flat-files ~/flatfiles --force[/]
    """
    from orchestration.runs import backfill as plans  # noqa: PLC0415
    from orchestration.runs.lineage import fetch, sourced  # noqa: PLC0415
    from orchestration.runs.markets import Outcomes, in_short  # noqa: PLC0415

    markets = markets_of(market)
    if symbols is not None and len(markets) > 1:
        raise typer.BadParameter(
            "it needs exactly one market; for several, set TAPEWATCH_SYMBOLS_<MARKET>", param_hint="--symbols"
        )
    chosen, outcomes = plans.with_symbols(settings_with(flat_files), markets[0], symbols), Outcomes(markets)
    with sourced(chosen, console) as (settings, _):
        for each in markets:
            with outcomes.of(each):
                plan = plans.plan_backfill(
                    settings, each, first and first.date(), last and last.date(), keep_existing=not force
                )
                plans.show(console, plan)
                if dry_run:
                    outcomes.done[each] = "planned"
                    continue
                plans.check_vendor(settings, plan)
                try:
                    report = fetch(
                        settings,
                        each,
                        plan.first,
                        plan.last,
                        console,
                        keep_existing=not force,
                        command="tapewatch backfill",
                    )
                except KeyboardInterrupt:
                    console.print(plans.how_to_continue(settings, plan, is_forced=force), soft_wrap=True)
                    outcomes.show(console)
                    raise typer.Exit(INTERRUPTED) from None
                outcomes.done[each] = in_short(report, len(plan.days))
    outcomes.show(console)
    if outcomes.failed:
        raise typer.Exit(1)


@app.command()
@reports_errors
def run(
    market: MarketsOption,
    first: FirstOption,
    last: LastOption,
    flat_files: FlatFilesOption = None,
    force: Annotated[
        bool, typer.Option("--force", metavar="", help="fetch days again that the lake already holds")
    ] = False,
) -> None:
    """Run everything for a range of days: tape, features, labels, detector, Bento, anomalies, report.

    Of several markets each has runs of its own, and one detector is trained on
    all. If one cannot run, the others do; the exit code is then 1.

    [dim]tapewatch run --market stocks --from 2013-10-07 --to 2013-10-09 --flat-files ~/flatfiles
    tapewatch run --market stocks,crypto --from 2024-06-03 --to 2024-06-07[/]
    """
    from orchestration.runs.lineage import materialize, sourced  # noqa: PLC0415
    from orchestration.runs.markets import Outcomes  # noqa: PLC0415

    outcomes = Outcomes(markets_of(market))
    try:
        with sourced(settings_with(flat_files), console) as (settings, source):
            days, report = materialize(
                settings,
                outcomes.markets,
                first.date(),
                last.date(),
                console,
                keep_existing=not force,
                outcomes=outcomes,
                command="tapewatch run",
            )
        if days:
            from orchestration.runs import outcome  # noqa: PLC0415

            title = f"Tapewatch {' and '.join(outcomes.left)}"
            outcome.present(settings, console, days, report, title=title, source=source)
    finally:
        outcomes.show(console)
    if outcomes.failed:
        raise typer.Exit(1)
