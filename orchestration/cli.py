"""The command `tapewatch`.

Belongs here: arguments, help, and errors as one line. Not here: what the commands do. Imports are inside the commands, so
that `--help` and refusals come at once.
"""

import datetime as dt
import os
import sys
import warnings
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from orchestration.errors import console, reports_errors
from tapewatch.market.instruments import Market
from tapewatch.settings import Settings

app = typer.Typer(
    name="tapewatch",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    help="Watches the market's tape: backfills it, turns it into features, finds its anomalies, explains and serves them.\n\n"
    "Start with [bold]tapewatch demo[/]. Everything is kept under TAPEWATCH_HOME; .env.example lists all settings.",
)

_DATE = ["%Y-%m-%d"]
_MOMENT = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%MZ", "%Y-%m-%dT%H:%M:%SZ"]
MarketOption = Annotated[Market, typer.Option("--market", "-m", help="the market to work on")]
FirstOption = Annotated[dt.datetime, typer.Option("--from", formats=_DATE, help="first day")]
LastOption = Annotated[dt.datetime, typer.Option("--to", formats=_DATE, help="last day, included")]
FlatFilesOption = Annotated[
    str | None, typer.Option("--flat-files", metavar="DIR", help="folder or fsspec URL of the vendor's flat files")
]
SeedOption = Annotated[int, typer.Option("--seed", help="the synthetic market's seed: the same seed, the same tape")]


class Format(StrEnum):
    """How anomalies are listed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


@app.callback()
def prepare() -> None:
    """What every command begins with."""
    _quieten()


@app.command()
@reports_errors
def demo(
    days: Annotated[int, typer.Option(min=2, max=60, help="trading days")] = 5,
    seed: SeedOption = 7,
) -> None:
    """The whole lineage on the built-in market, without key or network: about three minutes.

    Five stocks and six crypto pairs, from the tape to a served and explained anomaly; ends with what was found against
    the truth and an HTML report. Kept apart under TAPEWATCH_HOME/demo. Nothing is left running.

    [dim]tapewatch demo
    tapewatch demo --days 3 --seed 11[/]
    """
    from orchestration import demo as story  # noqa: PLC0415

    settings = Settings()
    story.run(
        settings.model_copy(update={"home": settings.home / "demo", "database_url": None}),
        console,
        days=days,
        seed=seed,
    )


@app.command()
@reports_errors
def check(
    asks: Annotated[bool, typer.Option("--probe", help="ask the server for what each plan should give")] = False,
) -> None:
    """Check settings, data folder, database, source and ports, and say what the plans allow; exit code 1 where one is broken.

    [dim]tapewatch check
    tapewatch check --probe[/]
    """
    from orchestration.check import run, show_plans  # noqa: PLC0415

    settings = Settings()
    is_sound = run(settings, console)
    if not show_plans(settings, console, asks=asks) or not is_sound:
        raise typer.Exit(1)


@app.command()
def emulate(
    port: Annotated[int, typer.Option(help="port on loopback")] = 8900,
    seed: SeedOption = 7,
    flat_files: FlatFilesOption = None,
    key: Annotated[str | None, typer.Option(help="the one key to accept; any by default")] = None,
) -> None:
    """Serve the vendor's REST API over a synthetic market, or over recorded flat files, until Ctrl-C.

    Point any client of the vendor at it: POLYGON_BASE_URL=http://127.0.0.1:8900.

    [dim]tapewatch emulate --port 8900 --seed 7
    tapewatch emulate --flat-files ~/flatfiles --key secret[/]
    """
    command = [sys.executable, "-m", "tapewatch.emulator", "--port", str(port), "--seed", str(seed)]
    command += ["--flat-files", flat_files] if flat_files else []
    command += ["--key", key] if key else []
    os.execv(command[0], command)  # noqa: S606


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

    with sourced(_settings(flat_files), console) as (settings, _):
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

    with sourced(_settings(flat_files), console) as (settings, source):
        days, report = materialize(settings, [market], first.date(), last.date(), console, keep_existing=not force)
    summary = outcome.summarise(settings, days, report, title=f"Tapewatch {market}", source=source)
    outcome.show(console, summary)
    outcome.show_checks(console, report)
    console.print(f"Report: {outcome.write(settings, summary)}", soft_wrap=True)


@app.command()
@reports_errors
def up() -> None:
    """Dagster, MLflow, the emulator and the scoring service under one supervisor; Ctrl-C stops all.

    Without a key and flat files the emulator is the source. Logs lie under TAPEWATCH_HOME/logs.

    [dim]tapewatch up
    TAPEWATCH_PORT_DAGSTER=3100 tapewatch up[/]
    """
    from orchestration import up as platform  # noqa: PLC0415

    platform.run(Settings(), console)


@app.command()
@reports_errors
def score(
    file: Annotated[Path | None, typer.Option(help='JSON: a microstructure row, or {"rows": [...]}')] = None,
    symbol: Annotated[str | None, typer.Option(help="with --time: a symbol of the lake")] = None,
    time: Annotated[dt.datetime | None, typer.Option(formats=_MOMENT, help="with --symbol: a minute, UTC")] = None,
    url: Annotated[str | None, typer.Option(help="a scoring service; by default this deployment's own")] = None,
) -> None:
    """Score a minute and say why; the latest anomaly where none is named.

    Asks the scoring service. Where none runs, the newest Bento's model is loaded in this process.

    [dim]tapewatch score
    tapewatch score --symbol AAPL --time 2024-06-03T14:31
    tapewatch score --file row.json --url http://127.0.0.1:3001[/]
    """
    if (symbol is None) != (time is None) or (file is not None and symbol is not None):
        raise typer.BadParameter("give --file, or --symbol and --time together, or none of them")
    from orchestration import outcome, scoring  # noqa: PLC0415

    settings = Settings()
    if file is not None:
        body = scoring.read_request(file)
    elif symbol is not None and time is not None:
        body = scoring.request_body(scoring.minute_row(settings, symbol, time.replace(tzinfo=dt.UTC)))
    else:
        body = scoring.request_body(scoring.anomaly_rows(settings))
    answer, answered_by = scoring.ask(settings, body, url=url)
    console.print(f"Scored by {answered_by}", soft_wrap=True)
    verdicts = answer.results if file is not None else [scoring.strongest(answer)]
    for verdict in verdicts:
        Console().print(outcome.verdict_table(answer, verdict))


@app.command()
@reports_errors
def anomalies(
    symbol: Annotated[str | None, typer.Option(help="one symbol, such as AAPL or X:BTC-USD")] = None,
    first: Annotated[
        dt.datetime | None, typer.Option("--from", formats=_MOMENT, help="those that begin here or later, UTC")
    ] = None,
    last: Annotated[
        dt.datetime | None,
        typer.Option("--to", formats=_MOMENT, help="those that begin before; a bare date is included"),
    ] = None,
    form: Annotated[
        Format, typer.Option("--format", help="CSV has columns symbol,start,end,kind,score")
    ] = Format.TABLE,
) -> None:
    """List the anomalies found.

    [dim]tapewatch anomalies --symbol AAPL --from 2024-06-03 --to 2024-06-07
    tapewatch anomalies --format csv > anomalies.csv[/]
    """
    from orchestration import listing  # noqa: PLC0415
    from tapewatch.store.database import Database  # noqa: PLC0415

    start = first.replace(tzinfo=dt.UTC) if first else None
    end = last.replace(tzinfo=dt.UTC) if last else None
    if end is not None and end.time() == dt.time():
        end += dt.timedelta(days=1)
    with Database(Settings().database) as database:
        found = database.anomalies(symbol, start, end)
    match form:
        case Format.CSV:
            sys.stdout.write(listing.as_csv(found))
        case Format.JSON:
            sys.stdout.write(listing.as_json(found))
        case Format.TABLE:
            Console().print(listing.as_table(found))


def _quieten() -> None:
    """Keep what libraries tell developers off the terminal; Dagster says of its own parts that they are beta."""
    warnings.filterwarnings("ignore", message=".*is currently in (beta|preview)")
    warnings.filterwarnings("ignore", module=r"mlflow\.")
    warnings.filterwarnings("ignore", module=r"shap\.")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")


def _settings(flat_files: str | None) -> Settings:
    settings = Settings()
    return settings.model_copy(update={"flat_files": flat_files}) if flat_files else settings
