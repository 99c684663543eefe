"""Which errors are answers, not defects: the command line prints them as one red line.

Belongs here: telling the two apart, and the console that people read. Not here: any error itself.
"""

import functools
from collections.abc import Callable
from typing import ParamSpec

import typer
from rich.console import Console

P = ParamSpec("P")
#: Everything for people goes to stderr; stdout holds what was asked for.
console = Console(stderr=True)


def reports_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Turn the platform's own errors into one red line and exit code 1; anything else is a defect and keeps its traceback."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except Exception as error:
            if not isinstance(error, expected()):
                raise
            console.print(f"Error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
            raise typer.Exit(1) from None

    return wrapped


def expected() -> tuple[type[Exception], ...]:
    """The errors whose message names the thing, the value and the way out; imported only once something went wrong."""
    from pydantic import ValidationError  # noqa: PLC0415

    from models.base import DetectorError  # noqa: PLC0415
    from orchestration.runs import RunError  # noqa: PLC0415
    from orchestration.scoring import ScoringError  # noqa: PLC0415
    from orchestration.services import ServiceError  # noqa: PLC0415
    from serving.bento import BentoError  # noqa: PLC0415
    from serving.loader import LoadError  # noqa: PLC0415
    from serving.schemas import RequestError  # noqa: PLC0415
    from serving.store import StoreError  # noqa: PLC0415
    from tapewatch.emulator.process import EmulatorError  # noqa: PLC0415
    from tapewatch.feeds.source import SourceError  # noqa: PLC0415
    from tapewatch.market.instruments import CalendarError  # noqa: PLC0415
    from tapewatch.market.schema import SchemaError  # noqa: PLC0415
    from tapewatch.store.database import DatabaseError  # noqa: PLC0415
    from tapewatch.store.lake import LakeError  # noqa: PLC0415
    from tapewatch.store.spool import SpoolError  # noqa: PLC0415
    from tapewatch.streaming.lock import CollectorError  # noqa: PLC0415
    from tapewatch.streaming.rules_settings import DetectionError  # noqa: PLC0415

    return (
        *(
            BentoError,
            CalendarError,
            CollectorError,
            DatabaseError,
            DetectionError,
            DetectorError,
            EmulatorError,
            LakeError,
            LoadError,
            RequestError,
            RunError,
        ),
        *(SchemaError, ScoringError, ServiceError, SourceError, SpoolError, StoreError, ValidationError),
    )
