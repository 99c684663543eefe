"""The platform as a whole: demo, check, emulator, all services."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from orchestration.cli.commands.options import FlatFilesOption, SeedOption
from orchestration.errors import console, reports_errors
from tapewatch.settings import Settings

app = typer.Typer()


@app.command()
@reports_errors
def demo(
    days: Annotated[int, typer.Option(min=2, max=60, help="trading days")] = 5,
    seed: SeedOption = 7,
) -> None:
    """The whole lineage on the built-in market, without key or network: about three minutes.

    Five stocks and six crypto pairs, from the tape to a served and explained
    anomaly; ends with what was found against the truth and an HTML report. Kept
    apart under TAPEWATCH_HOME/demo. Nothing is left running.

    [dim]tapewatch demo
    tapewatch demo --days 3 --seed 11[/]
    """
    from orchestration.runs.demo import run_demo  # noqa: PLC0415

    settings = Settings()
    run_demo(
        settings.model_copy(update={"home": settings.home / "demo", "database_url": None}),
        console,
        days=days,
        seed=seed,
    )


@app.command()
@reports_errors
def check(
    asks: Annotated[
        bool, typer.Option("--probe", metavar="", help="ask the server for what each plan should give")
    ] = False,
) -> None:
    """Check settings, data folder, database, source and ports, and say what the plans allow; exit code 1 where one is broken.

    [dim]tapewatch check
    tapewatch check --probe[/]
    """
    from orchestration.cli.check import check_parts, show_plans  # noqa: PLC0415

    settings, output = Settings(), Console()
    is_sound = check_parts(settings, output)
    if not show_plans(settings, output, asks=asks) or not is_sound:
        raise typer.Exit(1)


@app.command()
def emulate(
    port: Annotated[int, typer.Option(help="port on loopback")] = 8900,
    seed: SeedOption = 7,
    flat_files: FlatFilesOption = None,
    key: Annotated[str | None, typer.Option(help="the one key to accept; any by default")] = None,
    speed: Annotated[
        str,
        typer.Option(
            metavar="N|max|Neps",
            help="of the streams: times real time (60), as fast as the client takes (max), events a second (50000eps)",
        ),
    ] = "1",
    replay: Annotated[
        str | None,
        typer.Option(
            metavar="FIRST[:LAST]",
            help="days to stream; by default all recorded ones, of the synthetic market the present at speed 1 and else "
            "the last whole trading day",
        ),
    ] = None,
    faults: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, exists=True, help="TOML file of what is to go wrong"),
    ] = None,
) -> None:
    """Serve the vendor's REST API and WebSocket streams over a synthetic market, or recorded flat files, until Ctrl-C.

    Point any client of the vendor at it: POLYGON_BASE_URL=http://127.0.0.1:8900
    POLYGON_WS_URL=ws://127.0.0.1:8900. How far a stream is:
    http://127.0.0.1:8900/emulator/v1/stream?market=stocks. Faults:
    docs/how_to/emulate.md.

    [dim]tapewatch emulate --port 8900 --seed 7
    tapewatch emulate --speed 60 --replay 2024-03-05:2024-03-08
    tapewatch emulate --flat-files ~/flatfiles --speed max --faults faults.toml[/]
    """
    command = [sys.executable, "-m", "tapewatch.emulator", "--port", str(port), "--seed", str(seed)]
    command += ["--flat-files", flat_files] if flat_files else []
    command += ["--key", key] if key else []
    command += ["--speed", speed]
    command += ["--replay", replay] if replay else []
    command += ["--faults", str(faults)] if faults else []
    os.execv(command[0], command)  # noqa: S606


@app.command()
@reports_errors
def up(
    streams: Annotated[
        bool, typer.Option("--stream", metavar="", help="collect every market that can be streamed, too")
    ] = False,
) -> None:
    """Dagster, MLflow, the emulator and the scoring service under one supervisor; Ctrl-C stops all.

    Without a key and flat files the emulator is the source. Logs lie under
    TAPEWATCH_HOME/logs.

    [dim]tapewatch up
    tapewatch up --stream
    TAPEWATCH_PORT_DAGSTER=3100 tapewatch up[/]
    """
    from orchestration.processes.up import run_platform  # noqa: PLC0415

    run_platform(Settings(), console, streams=streams)
