"""`tapewatch replay`: logged scoring requests, scored again."""

import datetime as dt
from typing import Annotated

import typer

from orchestration.cli.commands.options import FirstOption, LastOption
from orchestration.errors import output, reports_errors
from tapewatch.settings import Settings

app = typer.Typer()


@app.command()
@reports_errors
def replay(
    first: FirstOption,
    last: LastOption,
    version: Annotated[str, typer.Option("--model", metavar="VERSION", help="version to score with")],
    name: Annotated[
        str | None, typer.Option("--name", help="registered model; by default the one that answered last")
    ] = None,
) -> None:
    """Score the requests that the scoring service kept with a version of the model, and compare.

    [dim]tapewatch replay --from 2024-06-03 --to 2024-06-07 --model 4[/]
    """
    from orchestration.runs.detectors.replay import replay as run  # noqa: PLC0415

    found = run(Settings(), _day(first), _day(last), name=name, version=version)
    output().print(found.table())


def _day(time: dt.datetime) -> dt.date:
    return time.date()
