"""Simulated kills without a process: the code stops before or after its n-th durable effect."""

import os
import pathlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch


class Killed(BaseException):
    """The simulated kill. As a BaseException it passes `except Exception`."""


@dataclass
class Disk:
    """Counts durable effects. Each has two moments for a kill: before it and after it.

    Attributes:
        last: the moment of the kill; None for no kill. Later effects fail too.
        moments: the number of moments so far.
    """

    last: int | None = None
    moments: int = 0

    def do(self, effect: Callable[..., Any], *given: Any, **named: Any) -> Any:
        """Run an effect, unless the kill comes first."""
        self.pass_moment()
        done = effect(*given, **named)
        self.pass_moment()
        return done

    def pass_moment(self) -> None:
        """Count a moment; raises `Killed` from the last one on."""
        if self.last is not None and self.moments >= self.last:
            raise Killed
        self.moments += 1


@contextmanager
def killed_at(moment: int | None) -> Iterator[Disk]:
    """Count the durable effects within the block and raise `Killed` at a moment."""
    disk = Disk(moment)

    def counted(effect: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *given, **named: disk.do(effect, *given, **named)

    with (
        patch.object(os, "fsync", counted(os.fsync)),
        patch.object(pathlib.Path, "replace", counted(pathlib.Path.replace)),
        patch.object(pathlib.Path, "rename", counted(pathlib.Path.rename)),
        patch.object(pathlib.Path, "unlink", counted(pathlib.Path.unlink)),
    ):
        yield disk
