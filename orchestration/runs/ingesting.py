"""Merges the batches that wait in the spool, where no Dagster daemon does so."""

from collections.abc import Sequence

from rich.console import Console

from orchestration.runs.progress import shown
from orchestration.runs.runs import RunReport, merge_day
from tapewatch.market.instruments import Market, Partition, known_session
from tapewatch.settings import Settings
from tapewatch.store.lake.lake import Lake
from tapewatch.store.spool.files import waiting


def waiting_days(settings: Settings, market: Market | None = None) -> list[Partition]:
    """The market days with batches in the spool, oldest first."""
    found = sorted(waiting(settings.spool_root))
    return [day for day in found if market in (None, day.market) and known_session(day.market, day.date)]


def merge_waiting(settings: Settings, days: Sequence[Partition], console: Console) -> RunReport:
    """Merge each day's batches, and recompute its bars, certificate and features.

    Raises:
        RunError: a step failed; the batches of that day and of later ones still wait.
    """
    report, lake = RunReport(), Lake(settings.lake_root)
    for day in days:
        with shown(console, lake, day.market, 1) as progress:
            report += merge_day(settings, day, progress=progress)
    return report
