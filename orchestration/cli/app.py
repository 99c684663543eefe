"""The command `tapewatch`.

Slow imports are inside the commands, so that `--help` and usage errors appear at once.
"""

import logging
import os
import stat
import warnings
from contextlib import suppress
from pathlib import Path

import typer
from pydantic import ValidationError

from orchestration.cli.commands.deployment import keys, labeller, platform, security, serve, users
from orchestration.cli.commands.detectors import (
    alerts,
    detect,
    explain,
    features,
    labels,
    lookahead,
    models,
    replay,
    results,
    watch,
)
from orchestration.cli.commands.tape import daily, database, gaps, lake, profile, stream, tape
from orchestration.cli.commands.trading import actions, backtest, paper
from orchestration.errors import console
from orchestration.home import tighten
from tapewatch.network import prepare_environment
from tapewatch.settings import Settings
from tapewatch.variables import unknown_variables

# TensorFlow, which some libraries import, prints how it was built otherwise.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

app = typer.Typer(
    name="tapewatch",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    help="Watch the market's tape: load or stream it, compute features, find anomalies, explain and serve them.\n\n"
    "Start with [bold]tapewatch demo[/]. All data is kept under TAPEWATCH_HOME; .env.example lists all settings.",
)

#: The commands by the headings of `tapewatch --help`.
_PANELS = {
    "The whole platform": (platform, serve, security),
    "The tape": (tape, stream, gaps, profile, lake, database),
    "Alerts and anomalies": (alerts, results, detect, explain, watch, daily),
    "Features, labels and models": (features, labels, labeller, lookahead, models),
    "Trading with paper money": (backtest, paper, actions),
    "People and programs": (users, keys, replay),
}
for panel, modules in _PANELS.items():
    for commands in modules:
        for registered in (*commands.app.registered_commands, *commands.app.registered_groups):
            registered.rich_help_panel = panel
        app.add_typer(commands.app)


@app.callback()
def prepare() -> None:
    """Set up this process, and so those that it starts, before any command."""
    # What is written may hold secrets, and belongs to this user.
    os.umask(0o077)
    prepare_environment()
    _warn_of_open_files()
    _warn_of_unknown_variables()
    _hide_library_warnings()


def _warn_of_open_files() -> None:
    """Close the data folder to other users, and say what could not be closed."""
    dotenv = Path(".env")
    if dotenv.is_file() and dotenv.stat().st_mode & stat.S_IROTH:
        _warn(f"{dotenv.absolute()} can be read by every user of this machine: chmod 600 .env")
    with suppress(ValidationError):  # the command reports it
        settings = Settings()
        try:
            tighten(settings)
        except OSError as error:
            _warn(f"{settings.home} can be read by other users ({error.strerror}): chmod -R go-rwx it as its owner")


def _warn(text: str) -> None:
    console.print(f"Warning: {text}", style="yellow", markup=False, highlight=False, soft_wrap=True)


def _hide_library_warnings() -> None:
    """Keep the libraries' notes for developers off the terminal; Dagster warns of its own beta features."""
    warnings.filterwarnings("ignore", message=".*is currently in (beta|preview)")
    warnings.filterwarnings("ignore", module=r"mlflow\.")
    warnings.filterwarnings("ignore", module=r"shap\.")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # It logs the traceback of each error that it then raises.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def _warn_of_unknown_variables() -> None:
    for name, nearest in unknown_variables().items():
        hint = f"did you mean {nearest}?" if nearest else ".env.example lists all settings"
        _warn(f"{name} is no setting: {hint}")
