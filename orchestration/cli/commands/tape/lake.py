"""`tapewatch lake`: maintenance of the lake."""

from typing import Annotated

import typer
from rich.progress import Progress

from orchestration.errors import console, output, reports_errors
from tapewatch.settings import Settings

app = typer.Typer()
lake = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
app.add_typer(lake, name="lake", help="Maintain the lake: migrate.")


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
