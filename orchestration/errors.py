"""Errors that the command line prints as one line, without a traceback."""

import errno
import functools
import os
from collections.abc import Callable
from typing import ParamSpec

import typer
from pydantic import ValidationError
from rich.console import Console

from tapewatch.masking import masked
from tapewatch.settings import variable_of

P = ParamSpec("P")
#: Messages go to stderr; stdout holds the requested output alone.
console = Console(stderr=True, emoji=False)


def output() -> Console:
    """The console of what was asked for. Neither draws emoji: identities and fingerprints hold their codes, as `:X:` and `:CD:`."""
    return Console(emoji=False)


#: The packages whose public errors name the thing, the value and the way out.
OURS = {"tapewatch", "models", "resources", "assets", "serving", "orchestration"}
#: Errors of a disk or folder that is full, absent or closed to this user.
_DISK_ERRORS = {
    *(errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR),
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS),
}
#: What the system, SQLite and libraries say of such a disk.
_DISK_SIGNS = (
    *map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EROFS)),
    "database or disk is full",
    "attempt to write a readonly database",
    "disk I/O error",
)


class RunError(RuntimeError):
    """A run cannot start, or failed; the message names the step and the reason."""


def reports_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Print an expected error as one red line and exit with code 1; any other error keeps its traceback."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except Exception as error:
            message = message_of(error)
            if message is None:
                raise
            console.print(f"Error: {masked(message)}", style="red", markup=False, highlight=False, soft_wrap=True)
            raise typer.Exit(1) from None

    return wrapped


def is_expected(error: Exception) -> bool:
    """Whether the message of an error is enough for a person; any other error is a defect."""
    kind = type(error)
    is_public_of_ours = kind.__module__.partition(".")[0] in OURS and not kind.__name__.startswith("_")
    return is_public_of_ours or isinstance(error, ValidationError)


def message_of(error: Exception) -> str | None:
    """The message of an expected error; None for a defect."""
    if isinstance(error, ValidationError):
        return _settings_message(error)
    if is_expected(error):
        # A library's output inside our message may hold a traceback.
        first, _, more = str(error).partition("\n")
        return f"{first.rstrip(':')}: {full}" if more and (full := _disk_message(error)) else str(error)
    if isinstance(error, OSError) and error.filename is not None and error.errno in _DISK_ERRORS:
        return f"{error.filename}: {error.strerror}. Data is kept under TAPEWATCH_HOME: choose a folder that is writable and has room"
    return _disk_message(error)


def _disk_message(error: BaseException) -> str | None:
    """The message of a full or read-only disk, which libraries report in errors of their own; None for another fault."""
    seen: BaseException | None = error
    while seen is not None:
        text = str(seen)
        for sign in _DISK_SIGNS:
            if sign in text:
                return f"{sign}. Data is kept under TAPEWATCH_HOME: make room there, or choose another folder"
        seen = seen.__cause__ or seen.__context__
    return None


def _settings_message(error: ValidationError) -> str:
    """Names each variable, its value and the fault. No secret appears: those accept any text and never fail."""
    lines = []
    for fault in error.errors(include_url=False, include_context=False):
        variable = variable_of(*fault["loc"]) if fault["loc"] else error.title
        reason = fault["msg"].removeprefix("Value error, ")
        lines.append(f"{variable} is {fault['input']!r}: {reason[:1].lower()}{reason[1:]}")
    return "; ".join(lines)
