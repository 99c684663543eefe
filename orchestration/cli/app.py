"""The command `tapewatch`.

Slow imports are inside the commands, so that `--help` and usage errors appear at once.
"""

import os
import warnings

import typer

from orchestration.cli.commands import (
    alerts,
    daily,
    database,
    detect,
    features,
    gaps,
    lake,
    platform,
    profile,
    results,
    stream,
    tape,
)

app = typer.Typer(
    name="tapewatch",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    help="Watch the market's tape: load or stream it, compute features, find anomalies, explain and serve them.\n\n"
    "Start with [bold]tapewatch demo[/]. All data is kept under TAPEWATCH_HOME; .env.example lists all settings.",
)

for commands in (platform, tape, stream, gaps, results, detect, features, alerts, daily, profile, database, lake):
    app.add_typer(commands.app)


@app.callback()
def hide_library_warnings() -> None:
    """Keep the libraries' notes for developers off the terminal; Dagster warns of its own beta features."""
    warnings.filterwarnings("ignore", message=".*is currently in (beta|preview)")
    warnings.filterwarnings("ignore", module=r"mlflow\.")
    warnings.filterwarnings("ignore", module=r"shap\.")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
