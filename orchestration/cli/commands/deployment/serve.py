"""`tapewatch serve`, `healthy` and `preflight`: what containers run."""

from enum import StrEnum
from typing import Annotated

import typer

from orchestration.errors import console, reports_errors
from tapewatch.market.instruments import Market
from tapewatch.settings import Settings

app = typer.Typer()
_SHARED = ("code-location", "webserver", "daemon", "mlflow", "scoring", "healer", "paper-trader")
Part = StrEnum("Part", {name: name for name in (*_SHARED, *(f"collector-{market}" for market in Market))})
#: `tapewatch dashboard` starts the dashboard.
Checked = StrEnum("Checked", {name: name for name in (*Part, "dashboard")})


@app.command()
@reports_errors
def serve(
    part: Annotated[Part, typer.Argument(help="the part to run", metavar="PART")],
    waits: Annotated[
        bool, typer.Option("--wait", metavar="", help="wait while another process runs the part, then take over")
    ] = False,
) -> None:
    """Run one part of the platform as this process, after the checks of `tapewatch preflight`.

    The parts: code-location, webserver, daemon, mlflow, scoring, healer, paper-trader
    and a collector-MARKET of each market. `tapewatch up` runs them all at once.

    [dim]tapewatch serve webserver
    tapewatch serve collector-crypto --wait[/]
    """
    from orchestration.processes.parts.parts import serve as run  # noqa: PLC0415

    run(Settings(), str(part), waits=waits)


@app.command()
@reports_errors
def healthy(
    part: Annotated[
        Checked | None, typer.Argument(help="by default everything that `tapewatch up` runs", metavar="PART")
    ] = None,
) -> None:
    """Exit with 0 if a part of the platform works on this machine, else with 1.

    [dim]tapewatch healthy webserver[/]
    """
    from orchestration.processes.parts.parts import is_working  # noqa: PLC0415

    if not is_working(Settings(), part and str(part)):
        console.print(f"{part or 'The platform'} does not work", style="red")
        raise typer.Exit(1)


@app.command()
@reports_errors
def preflight() -> None:
    """Check access, volume, databases, Redis and buckets; name each fault and the way out. The exit code is 1 if there is one.

    [dim]tapewatch preflight[/]
    """
    from orchestration.processes.parts.preflight import expect_sound  # noqa: PLC0415

    expect_sound(Settings())
    console.print("Ready to start.", style="green")
