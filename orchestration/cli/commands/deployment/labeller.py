"""`tapewatch labeller`: pulls the team's labels, serves the dashboard to label in, pushes them; what its container runs."""

from enum import StrEnum
from typing import Annotated

import typer

from orchestration.cli.commands.detectors.shared_labels import pull, push
from orchestration.errors import console, reports_errors
from tapewatch.settings import Settings

app = typer.Typer()


class Mode(StrEnum):
    INTERACTIVE = "interactive"


@app.command()
@reports_errors
def labeller(
    source: Annotated[
        str | None, typer.Option("--pull-from-cloud", metavar="PLACE", help="first bring the labels of this place")
    ] = None,
    mode: Annotated[
        Mode | None,
        typer.Option(metavar="interactive", help="serve the dashboard to label in, until Ctrl-C or SIGTERM"),
    ] = None,
    target: Annotated[
        str | None, typer.Option("--push-to-cloud", metavar="PLACE", help="at last add the labels to this place")
    ] = None,
    upsert: Annotated[bool, typer.Option("--upsert", metavar="", help="push changes and removals too")] = False,
) -> None:
    """Label as a step of its own, on a machine or in a container: pull, label, push.

    A place is a folder or a URL such as s3://bucket/labels. What cannot be pulled or
    pushed ends the command with exit code 1; the labels stay in the database, and
    `tapewatch labels pull` and `push` settle conflicts.

    [dim]tapewatch labeller --pull-from-cloud s3://team/labels
    tapewatch labeller --mode interactive
    tapewatch labeller --push-to-cloud s3://team/labels --upsert[/]
    """
    if source is None and mode is None and target is None:
        raise typer.BadParameter("give --pull-from-cloud, --mode interactive or --push-to-cloud, or several of them")
    if upsert and target is None:
        raise typer.BadParameter("--upsert needs --push-to-cloud")
    if source is not None:
        pull(source)
    if mode is Mode.INTERACTIVE:
        from orchestration.processes.dashboard import serve_until_stopped  # noqa: PLC0415

        serve_until_stopped(Settings(), console)
    if target is not None:
        push(target, upsert=upsert)
