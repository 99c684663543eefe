"""`tapewatch security`: what is weak in this deployment."""

from typing import Annotated

import typer

from orchestration.errors import output, reports_errors
from tapewatch.settings import Settings

app = typer.Typer()
security = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
app.add_typer(security, name="security", help="Look for what is weak in this deployment: check.")


@security.command()
@reports_errors
def check(
    audits: Annotated[
        bool, typer.Option("--audit", metavar="", help="also ask the registry for known vulnerabilities (pip-audit)")
    ] = False,
) -> None:
    """Look for files that others can read, weak passwords, open ports and old dependencies; each with its remedy.

    The exit code is 1 if something is found that should be mended.

    [dim]tapewatch security check
    tapewatch security check --audit[/]
    """
    from orchestration.cli.security import findings, show  # noqa: PLC0415 - slow to import

    found = findings(Settings(), audits=audits)
    show(found, output())
    if any(finding.is_fault for finding in found):
        raise typer.Exit(1)
