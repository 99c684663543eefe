"""Which errors are answers, not defects: the command line prints them as one red line."""

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
#: Everything for people goes to stderr; stdout holds what was asked for.
console = Console(stderr=True)

#: The errors whose message names the thing, the value and the way out, and where they are defined.
_ANSWERS = (
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
#: What a disk or folder answers that is full, absent or closed to this user.
_OF_THE_DISK = {
    *(errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR),
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS),
}


class RunError(RuntimeError):
    """A run cannot begin, or failed; the message names the step and its reason."""


def reports_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Turn the platform's own errors into one red line and exit code 1; anything else is a defect and keeps its traceback."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except Exception as error:
            told = _answer(error)
            if told is None:
                raise
            console.print(f"Error: {told}", style="red", markup=False, highlight=False, soft_wrap=True)
            raise typer.Exit(1) from None

    return wrapped


def expected() -> tuple[type[Exception], ...]:
    """The errors that are answers. A class whose module nobody has imported cannot have been raised: none is imported for it."""
    found = (getattr(sys.modules.get(module), name, None) for module, name in _ANSWERS)
    return (ValidationError, *(error for error in found if error is not None))


def _answer(error: Exception) -> str | None:
    """What to tell a person of an error; None for a defect."""
    if isinstance(error, ValidationError):
        return _of_settings(error)
    if isinstance(error, expected()):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None and error.errno in _OF_THE_DISK:
        return f"{error.filename}: {error.strerror}. Everything is kept under TAPEWATCH_HOME: is that where you may write, with room left?"
    return None


def _of_settings(error: ValidationError) -> str:
    """A line each, with the variable to set. What was set is not repeated of a secret: those take any text and never fail."""
    lines = []
    for fault in error.errors(include_url=False, include_context=False):
        variable = variable_of(*fault["loc"]) if fault["loc"] else error.title
        lines.append(f"{variable} is {fault['input']!r}: {fault['msg'][:1].lower()}{fault['msg'][1:]}")
    return "; ".join(lines)
