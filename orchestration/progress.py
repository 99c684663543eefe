"""Shows at the terminal how a run goes: a line a step, its days, rows and rate.

Belongs here: rendering of `StepEvent`s. Not here: running (`runs.py`).
"""

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
from rich.text import Text

from tapewatch.market.instruments import Market, Partition
from tapewatch.market.schema import Table
from tapewatch.market.tables import ALL
from tapewatch.store.lake import Lake

if TYPE_CHECKING:
    from orchestration.runs import Progress as Listener
    from orchestration.runs import StepEvent

_TABLES: dict[str, Table] = {f"{table.group}/{table.name}": table for table in ALL}


class _Counts(ProgressColumn):
    """Days, symbols, rows and rows a second of a step, as far as it has any."""

    def render(self, task: Task) -> Text:
        days, rows, symbols = int(task.completed), task.fields["rows"], task.fields["symbols"]
        parts = [f"{days}/{int(task.total)} days" if task.fields["is_daily"] and task.total else ""]
        parts.append(f"{symbols:,} symbols" if symbols else "")
        parts.append(f"{rows:,} rows" if rows else "")
        seconds = task.finished_time if task.finished else task.elapsed
        parts.append(f"{rows / seconds:,.0f} rows/s" if rows and seconds else "")
        return Text(" · ".join(part for part in parts if part))


@contextmanager
def shown(console: Console, lake: Lake, market: Market | None, days: int) -> Iterator["Listener"]:
    """A listener for a run over `days` days of one market (None: all of them together) that draws what it hears."""
    columns = (SpinnerColumn(finished_text="[green]✓[/]"), TextColumn("{task.description}"), BarColumn(bar_width=24))
    prefix = f"{market} " if market else ""
    with Progress(*columns, _Counts(), TimeElapsedColumn(), console=console) as progress:
        tasks: dict[str, TaskID] = {}

        def listen(event: "StepEvent") -> None:
            if event.step not in tasks:
                tasks[event.step] = progress.add_task(
                    prefix + event.step, total=None, rows=0, symbols=0, is_daily=False
                )
            task = tasks[event.step]
            if event.partition is not None:
                fields = progress.tasks[progress.task_ids.index(task)].fields
                progress.update(
                    task,
                    advance=1,
                    total=days,
                    is_daily=True,
                    rows=fields["rows"] + (event.rows or 0),
                    symbols=max(fields["symbols"], _symbols(lake, event.step, event.partition)),
                )
            if event.seconds is not None:
                done = progress.tasks[progress.task_ids.index(task)].completed or 1
                progress.update(task, total=done, completed=done)

        yield listen


def _symbols(lake: Lake, step: str, partition: str) -> int:
    table, key = _TABLES.get(step), Partition.parse(partition)
    return len(lake.symbols(table, key)) if table is not None and lake.exists(table, key) else 0
