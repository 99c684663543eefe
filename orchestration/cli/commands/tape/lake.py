"""`tapewatch lake`: maintenance of the lake."""

import datetime as dt
from typing import Annotated

import typer
from rich.progress import Progress

from orchestration.cli.commands.options import MarketOption, day_option
from orchestration.errors import console, output, reports_errors
from tapewatch.market.instruments import Market
from tapewatch.settings import Settings

app = typer.Typer()
lake = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
app.add_typer(lake, name="lake", help="Maintain the lake: migrate, forget-versions.")


@lake.callback()
def lake_commands() -> None:
    """Maintain the lake."""


@lake.command()
@reports_errors
def migrate(
    root: Annotated[
        str | None, typer.Argument(metavar="[LAKE]", help="folder or fsspec URL; by default TAPEWATCH_HOME/lake")
    ] = None,
) -> None:
    """Move the partitions of an earlier Tapewatch to where this one keeps them: market=stocks/date=2024-06-03/part.parquet.

    End `tapewatch up` and all collectors first. After an interruption, run it
    again: it moves what is left. Rows are not changed.

    [dim]tapewatch lake migrate
    tapewatch lake migrate s3://bucket/lake[/]
    """
    from tapewatch.store.lake.migration import migrate as move  # noqa: PLC0415

    place = root or str(Settings().lake_root)
    with Progress(console=console) as progress:
        task = progress.add_task("moving partitions", total=None)
        moved = move(place, lambda done, objects: progress.update(task, completed=done, total=objects))
    output().print(
        f"{place}: {moved:,} objects moved" if moved else f"{place}: nothing to move", soft_wrap=True, markup=False
    )


@lake.command()
@reports_errors
def forget_versions(
    first: Annotated[dt.datetime, day_option("--from", "first day")],
    last: Annotated[dt.datetime | None, day_option("--to", "last day, included; by default the first")] = None,
    market: MarketOption = Market.STOCKS,
) -> None:
    """Let the newest features of some days count from their own minutes, as if they had been computed so at first.

    Features that are computed again replace their rows; joins as of an earlier
    moment still give the earlier ones, kept as versions. This deletes those
    versions: after a faulty load was mended, or formulas changed.

    [dim]tapewatch lake forget-versions --from 2024-06-03
    tapewatch lake forget-versions --from 2024-06-03 --to 2024-06-07 --market crypto[/]
    """
    from tapewatch.market.tables.live import EVERY  # noqa: PLC0415
    from tapewatch.store.lake.lake import Lake  # noqa: PLC0415
    from tapewatch.store.lake.versions import forget  # noqa: PLC0415

    days, lake = (first.date(), (last or first).date()), Lake(Settings().lake_root)
    if days[1] < days[0]:
        raise typer.BadParameter(f"the range ends before it begins: {days[0]} to {days[1]}")
    tables = [table for table in EVERY if table.is_versioned]
    chosen = [(t, day) for t in tables for day in lake.partitions(t, market) if days[0] <= day.date <= days[1]]
    done = [table.name for table, day in chosen if forget(lake.path(table, day))]
    text = f"versions of {len(done):,} partitions deleted: {', '.join(sorted(set(done)))}" if done else "no versions"
    output().print(f"{market}, {days[0]} to {days[1]}: {text}", soft_wrap=True, markup=False)
