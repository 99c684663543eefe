"""The command `tapewatch`.

Imports that take time are inside the commands, so that `--help` and refusals come at once.
"""

import os
import warnings

import typer

from orchestration.cli.commands import alerts, daily, database, gaps, platform, profile, results, stream, tape

app = typer.Typer(
    name="tapewatch",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    help="Watches the market's tape: backfills it, turns it into features, finds its anomalies, explains and serves them.\n\n"
    "Start with [bold]tapewatch demo[/]. Everything is kept under TAPEWATCH_HOME; .env.example lists all settings.",
)

for commands in (platform, tape, stream, gaps, results, alerts, daily, profile, database):
    app.add_typer(commands.app)


@app.callback()
def start() -> None:
    """What every command begins with."""
    _quieten()


def _quieten() -> None:
    """Keep what libraries tell developers off the terminal; Dagster says of its own parts that they are beta."""
    warnings.filterwarnings("ignore", message=".*is currently in (beta|preview)")
    warnings.filterwarnings("ignore", module=r"mlflow\.")
    warnings.filterwarnings("ignore", module=r"shap\.")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
