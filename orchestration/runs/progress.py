"""Shows the progress of a run on the terminal: a line per step with its days, rows and rate."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column
from rich.text import Text

from orchestration.runs.times import in_words
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.schema import Table
from tapewatch.market.tables.live import EVERY
from tapewatch.store.lake.lake import Lake

if TYPE_CHECKING:
    from orchestration.runs.runs import StepEvent, StepListener

_WIDE = 110
_MILLION = 1_000_000
_TABLES: dict[str, Table] = {f"{table.group}/{table.name}": table for table in EVERY}


class _Counts(ProgressColumn):
    """Days, rows, time left and checks of a step; on a wide terminal also symbols and rows per second."""

    def __init__(self, *, is_wide: bool) -> None:
        super().__init__(_column())
        self._is_wide = is_wide

    def render(self, task: Task) -> Text:
        done, rows, symbols = int(task.completed), task.fields["rows"], task.fields["symbols"]
        parts = [f"{done}/{int(task.total)} days" if task.fields["is_daily"] and task.total else ""]
        parts.append(f"{symbols:,} symbols" if symbols and self._is_wide else "")
        parts.append(f"{_short(rows)} rows" if rows else "")
        seconds = task.finished_time if task.finished else task.elapsed
        parts.append(f"{_short(rows / seconds)}/s" if rows and seconds and self._is_wide else "")
        left = _seconds_left(task)
        parts.append(f"{in_words(left)} left" if left else "")
        checks, failed = task.fields["checks"], task.fields["failed"]
        parts.append(f"{checks} checks" if checks else "")
        text = Text(", ".join(part for part in parts if part))
        return text.append(f", {failed} of them failed", style="yellow") if failed else text


def _seconds_left(task: Task) -> float:
    """Estimated from the days fetched so far; kept days took no time and are not counted."""
    fetched, total, elapsed = task.completed - task.fields["kept"], task.total, task.elapsed
    if task.finished or fetched <= 0 or not total or not elapsed:
        return 0.0
    return elapsed / fetched * (total - task.completed)


def _short(count: float) -> str:
    return f"{count / _MILLION:.1f} M" if count >= _MILLION else f"{count:,.0f}"


@contextmanager
def shown(console: Console, lake: Lake, market: Market | None, days: int) -> Iterator["StepListener"]:
    """A listener that draws the progress of a run over `days` days of one market, or of all (None)."""
    is_wide = console.width >= _WIDE
    bar = (BarColumn(bar_width=20),) if is_wide else ()
    columns = (
        SpinnerColumn(finished_text="[green]✓[/]", table_column=_column()),
        TextColumn("{task.description}", table_column=_column()),
        *bar,
        _Counts(is_wide=is_wide),
        TimeElapsedColumn(_column()),
    )
    prefix = f"{market} " if market else ""
    with Progress(*columns, console=console) as progress:
        tasks: dict[str, TaskID] = {}

        def listen(event: "StepEvent") -> None:
            if event.warning:
                progress.console.print(
                    f"{prefix}{event.step}: {event.warning}", style="yellow", markup=False, soft_wrap=True
                )
                return
            if event.step not in tasks:
                tasks[event.step] = progress.add_task(
                    prefix + event.step, total=None, rows=0, symbols=0, kept=0, is_daily=False, checks=0, failed=0
                )
            task = progress.tasks[progress.task_ids.index(tasks[event.step])]
            if event.partition is not None:
                symbols = max(task.fields["symbols"], _symbols(lake, event.step, event.partition))
                rows = task.fields["rows"] + (event.rows or 0)
                kept = task.fields["kept"] + event.is_kept
                progress.update(task.id, advance=1, total=days, is_daily=True, rows=rows, symbols=symbols, kept=kept)
            if event.check is not None:
                failed = task.fields["failed"] + (not event.has_passed)
                progress.update(task.id, checks=task.fields["checks"] + 1, failed=failed)
            if event.seconds is not None:
                done = max(task.completed, 1)
                progress.update(task.id, total=done, completed=done)

        yield listen


def _column() -> Column:
    return Column(no_wrap=True)


def _symbols(lake: Lake, step: str, partition: str) -> int:
    table, key = _TABLES.get(step), Partition.parse(partition)
    return len(lake.symbols(table, key)) if table is not None and lake.exists(table, key) else 0
