"""Errors that the command line prints as one line, without a traceback."""

import errno
import functools
import sys
from collections.abc import Callable
from typing import ParamSpec

import typer
from pydantic import ValidationError
from rich.console import Console

from tapewatch.settings import variable_of

P = ParamSpec("P")
#: Messages go to stderr; stdout holds the requested output alone.
console = Console(stderr=True)

#: Module and name of the errors whose message names the thing, the value and the way out.
_EXPECTED = (
    ("models.base", "DetectorError"),
    ("orchestration.errors", "RunError"),
    ("orchestration.runs.scoring", "ScoringError"),
    ("orchestration.processes.services", "ServiceError"),
    ("serving.bento", "BentoError"),
    ("serving.loader", "LoadError"),
    ("serving.schemas", "RequestError"),
    ("serving.store", "StoreError"),
    ("tapewatch.emulator.process", "EmulatorError"),
    ("tapewatch.feeds.source", "SourceError"),
    ("tapewatch.market.instruments", "CalendarError"),
    ("tapewatch.market.schema", "SchemaError"),
    ("tapewatch.store.lake.lake", "LakeError"),
    ("tapewatch.store.spool.spool", "SpoolError"),
    ("tapewatch.store.database.engine", "DatabaseError"),
    ("tapewatch.streaming.collector.lock", "CollectorError"),
    ("tapewatch.streaming.detection.rules.settings", "DetectionError"),
)
#: Errors of a disk or folder that is full, absent or closed to this user.
_DISK_ERRORS = {
    *(errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR),
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS),
}


class RunError(RuntimeError):
    """A run cannot start, or failed; the message names the step and the reason."""


def reports_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Print an expected error as one red line and exit with code 1; any other error is a defect and keeps its traceback."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except Exception as error:
            message = _message(error)
            if message is None:
                raise
            console.print(f"Error: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
            raise typer.Exit(1) from None

    return wrapped


def expected() -> tuple[type[Exception], ...]:
    """The expected errors. An error of a module that is not imported cannot have been raised, so none is imported here."""
    found = (getattr(sys.modules.get(module), name, None) for module, name in _EXPECTED)
    return (ValidationError, *(error for error in found if error is not None))


def _message(error: Exception) -> str | None:
    """The message of an expected error; None for a defect."""
    if isinstance(error, ValidationError):
        return _settings_message(error)
    if isinstance(error, expected()):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None and error.errno in _DISK_ERRORS:
        return f"{error.filename}: {error.strerror}. Data is kept under TAPEWATCH_HOME: choose a folder that is writable and has room"
    return None


def _settings_message(error: ValidationError) -> str:
    """Names each variable, its value and the fault. No secret appears: those accept any text and never fail."""
    lines = []
    for fault in error.errors(include_url=False, include_context=False):
        variable = variable_of(*fault["loc"]) if fault["loc"] else error.title
        lines.append(f"{variable} is {fault['input']!r}: {fault['msg'][:1].lower()}{fault['msg'][1:]}")
    return "; ".join(lines)
