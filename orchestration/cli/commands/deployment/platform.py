"""`tapewatch demo`, `check`, `emulate`, `up` and `dashboard`."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from orchestration.cli.commands.options import FlatFilesOption, SeedOption
from orchestration.errors import console, output, reports_errors
from tapewatch.settings import Settings

app = typer.Typer()


@app.command()
@reports_errors
def demo(days: Annotated[int, typer.Option(min=2, max=60, help="trading days")] = 5, seed: SeedOption = 7) -> None:
    """Run the whole platform once on the built-in market, without key or network; takes about two minutes.

    Five stocks and six crypto pairs go from the tape to an anomaly that is scored
    and explained. The demo ends with a comparison to the market's true anomalies
    and an HTML report. Its data is kept apart, under TAPEWATCH_HOME/demo. Nothing
    is left running.

    [dim]tapewatch demo
    tapewatch demo --days 3 --seed 11[/]
    """
    from orchestration.runs.demo import run_demo  # noqa: PLC0415

    settings = Settings()
    run_demo(
        settings.model_copy(
            update={
                "home": settings.home / "demo",
                "database_url": None,
                "lake_url": None,
                "artifacts_url": None,
                "bentos_url": None,
            }
        ),
        console,
        days=days,
        seed=seed,
    )


@app.command()
@reports_errors
def check(
    asks: Annotated[
        bool, typer.Option("--probe", metavar="", help="request from the vendor what each plan should include")
    ] = False,
) -> None:
    """Check settings, data folder, database, source and ports, and show what the plans allow.

    With flat files it lists their folders: files, days, size, rows and tickers.

    The exit code is 1 if a part is broken.

    [dim]tapewatch check
    tapewatch check --probe[/]
    """
    from orchestration.cli.check import check_parts, show_plans  # noqa: PLC0415
    from orchestration.cli.flat_files import show_flat_files  # noqa: PLC0415

    settings, out = Settings(), output()
    is_sound = check_parts(settings, out)
    show_flat_files(settings, out)
    if not show_plans(settings, out, asks=asks) or not is_sound:
        raise typer.Exit(1)


@app.command()
def emulate(
    port: Annotated[int, typer.Option(help="port on 127.0.0.1")] = 8900,
    seed: SeedOption = 7,
    flat_files: FlatFilesOption = None,
    key: Annotated[str | None, typer.Option(help="accept this key only; by default any key")] = None,
    speed: Annotated[
        str,
        typer.Option(
            metavar="N|max|Neps",
            help="speed of the streams: a multiple of real time (60), as fast as the client reads (max), or events a second (50000eps)",
        ),
    ] = "1",
    replay: Annotated[
        str | None,
        typer.Option(
            metavar="FIRST[:LAST]",
            help="days to stream; by default all days of the flat files, or of the synthetic market the present (at speed 1) "
            "or the last whole trading day",
        ),
    ] = None,
    faults: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, exists=True, help="TOML file of the faults to produce"),
    ] = None,
) -> None:
    """Serve the vendor's REST API and WebSocket streams from a synthetic market or from flat files, until Ctrl-C.

    To use it, set POLYGON_BASE_URL=http://127.0.0.1:8900 and
    POLYGON_WS_URL=ws://127.0.0.1:8900 for any client of the vendor. The progress
    of a stream is at http://127.0.0.1:8900/emulator/v1/stream?market=stocks.
    docs/how_to/emulate.md describes the faults.

    [dim]tapewatch emulate --port 8900 --seed 7
    tapewatch emulate --speed 60 --replay 2024-03-05:2024-03-08
    tapewatch emulate --flat-files ~/flatfiles --speed max --faults faults.toml[/]
    """
    options = {"port": port, "seed": seed, "flat-files": flat_files, "key": key, "speed": speed}
    options |= {"replay": replay, "faults": faults}
    given = [part for name, value in options.items() if value not in (None, "") for part in (f"--{name}", str(value))]
    os.execv(sys.executable, [sys.executable, "-m", "tapewatch.emulator", *given])  # noqa: S606


@app.command()
@reports_errors
def up(
    streams: Annotated[
        bool, typer.Option("--stream", metavar="", help="also collect every market that can be streamed")
    ] = False,
) -> None:
    """Run Dagster, MLflow, the emulator, the scoring service and the dashboard until Ctrl-C.

    Without a key or flat files, the emulator is the source of the tape. The logs
    are in TAPEWATCH_HOME/logs.

    [dim]tapewatch up
    tapewatch up --stream
    TAPEWATCH_PORT_DAGSTER=3100 tapewatch up[/]
    """
    from orchestration.processes.up import run_platform  # noqa: PLC0415

    run_platform(Settings(), console, streams=streams)


@app.command()
@reports_errors
def dashboard() -> None:
    """Serve the dashboard alone, until Ctrl-C; `tapewatch up` serves it beside the rest.

    The first start makes the account admin, and prints its one-time password.

    [dim]tapewatch dashboard
    TAPEWATCH_TLS=self-made TAPEWATCH_PORT_DASHBOARD=8443 tapewatch dashboard[/]
    """
    from orchestration.processes.dashboard import ready_to_serve  # noqa: PLC0415
    from orchestration.processes.services import environment  # noqa: PLC0415

    settings = Settings()
    command = ready_to_serve(settings, console)
    os.execve(command[0], command, environment(settings))  # noqa: S606
