"""The command `tapewatch`.

Slow imports are inside the commands, so that `--help` and usage errors appear at once.
"""

import logging
import os
import warnings

import typer

from orchestration.cli.commands import alerts, daily, database, gaps, platform, profile, results, stream, tape
from orchestration.errors import console
from tapewatch.settings import unknown_variables

app = typer.Typer(
    name="tapewatch",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    help="Watch the market's tape: load or stream it, compute features, find anomalies, explain and serve them.\n\n"
    "Start with [bold]tapewatch demo[/]. All data is kept under TAPEWATCH_HOME; .env.example lists all settings.",
)

for commands in (platform, tape, stream, gaps, results, alerts, daily, profile, database):
    app.add_typer(commands.app)


@app.callback()
def hide_library_warnings() -> None:
    """Keep the libraries' notes for developers off the terminal; Dagster warns of its own beta features."""
    warnings.filterwarnings("ignore", message=".*is currently in (beta|preview)")
    warnings.filterwarnings("ignore", module=r"mlflow\.")
    warnings.filterwarnings("ignore", module=r"shap\.")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    # It logs the traceback of each error that it then raises.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    _warn_of_unknown_variables()


def _warn_of_unknown_variables() -> None:
    for name, nearest in unknown_variables().items():
        hint = f"did you mean {nearest}?" if nearest else ".env.example lists all settings"
        console.print(f"Warning: {name} is no setting: {hint}", style="yellow", markup=False, soft_wrap=True)
