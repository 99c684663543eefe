"""Reads a TOML file of settings section by section; every error names the file, the section and the field."""

import threading
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

Section = TypeVar("Section", bound=msgspec.Struct)
# msgspec prepares a class at its first use. A second thread that uses the class meanwhile crashes the process.
_ONE_AT_A_TIME = threading.Lock()


class TomlTable:
    """The content of a TOML file (`document`).

    Args:
        path: the file.
        what: what the file holds, as the message about an unreadable file names it: `the table of plans`.
        error: makes the exception of a message.

    Raises:
        error: the file cannot be read, or is not valid TOML.
    """

    def __init__(self, path: Path, what: str, error: Callable[[str], Exception]) -> None:
        self._path, self._error = path, error
        try:
            self.document: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as cause:
            raise error(f"cannot read {what} {path}: {cause}") from cause
        except tomllib.TOMLDecodeError as cause:
            raise error(f"{path} is not valid TOML: {cause}") from cause
        except RecursionError:
            raise error(f"{path} is nested too deep: {what} needs no more than a few levels") from None

    def fault(self, message: str) -> Exception:
        """The exception that reports a fault of this file."""
        return self._error(f"{self._path}: {message}")

    def section(self, where: str, value: Any) -> dict[str, Any]:
        """`value`, which must be a section.

        Raises:
            error: it is a plain value.
        """
        if not isinstance(value, dict):
            raise self.fault(f"{where} must be a section, [{where}]")
        return value

    def convert(self, where: str, entry: dict[str, Any], kind: type[Section]) -> Section:
        """A section as a struct of `kind`.

        Raises:
            error: a field is missing, unknown or malformed.
        """
        try:
            with _ONE_AT_A_TIME:
                return msgspec.convert(entry, kind)
        except msgspec.ValidationError as cause:
            raise self.fault(f"[{where}]: {cause}") from cause
