"""Kills at chosen moments without a process: the n-th durable effect of what runs is its last, or does not come about."""

import os
import pathlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch


class Killed(BaseException):
    """The process is dead; nothing catches it for what it is."""


@dataclass
class Disk:
    """Counts durable effects. Each is two moments to be killed at: before it and after it.

    Attributes:
        last: the moment at which the process is killed; None where it is not. Whatever it tries afterwards fails too.
        moments: how many moments there were so far.
    """

    last: int | None = None
    moments: int = 0

    def do(self, effect: Callable[..., Any], *given: Any, **named: Any) -> Any:
        """Bring about an effect, unless the process is dead."""
        self.pass_moment()
        done = effect(*given, **named)
        self.pass_moment()
        return done

    def pass_moment(self) -> None:
        """Live through a moment."""
        if self.last is not None and self.moments >= self.last:
            raise Killed
        self.moments += 1


@contextmanager
def killed_at(moment: int | None) -> Iterator[Disk]:
    """Count what is done within, and end it at a moment by `Killed`."""
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
