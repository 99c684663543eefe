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
from rich.table import Column
from rich.text import Text

from tapewatch.market.instruments import Market, Partition
from tapewatch.market.schema import Table
from tapewatch.market.tables import ALL
from tapewatch.store.lake import Lake

if TYPE_CHECKING:
    from orchestration.runs import Progress as Listener
    from orchestration.runs import StepEvent

CHECKS = "checks"
_UNTABLED_GROUPS = ("models", "explanations", "serving")
_WIDE = 110
_MILLION = 1_000_000
_TABLES: dict[str, Table] = {f"{table.group}/{table.name}": table for table in ALL}


class _Counts(ProgressColumn):
    """Days, symbols, rows and rows a second of a step, as far as it has any."""

    def render(self, task: Task) -> Text:
        done, rows, symbols = int(task.completed), task.fields["rows"], task.fields["symbols"]
        if task.fields["is_checks"]:
            return Text(f"{done} run")
        parts = [f"{done}/{int(task.total)} days" if task.fields["is_daily"] and task.total else ""]
        parts.append(f"{symbols:,} symbols" if symbols else "")
        parts.append(f"{_short(rows)} rows" if rows else "")
        seconds = task.finished_time if task.finished else task.elapsed
        parts.append(f"{_short(rows / seconds)}/s" if rows and seconds else "")
        return Text(", ".join(part for part in parts if part))


def _short(count: float) -> str:
    return f"{count / _MILLION:.1f} M" if count >= _MILLION else f"{count:,.0f}"


def line_of(step: str) -> str:
    """The line on which a step is shown: its own for an asset, one for all checks."""
    return step if step in _TABLES or step.partition("/")[0] in _UNTABLED_GROUPS else CHECKS


@contextmanager
def shown(console: Console, lake: Lake, market: Market | None, days: int) -> Iterator["Listener"]:
    """A listener for a run over `days` days of one market (None: all of them together) that draws what it hears."""
    bar = (BarColumn(bar_width=20),) if console.width >= _WIDE else ()
    columns = (
        SpinnerColumn(finished_text="[green]✓[/]", table_column=_column()),
        _text("{task.description}"),
        *bar,
        _Counts(_column()),
        TimeElapsedColumn(_column()),
    )
    prefix = f"{market} " if market else ""
    with Progress(*columns, console=console) as progress:
        tasks: dict[str, TaskID] = {}

        def listen(event: "StepEvent") -> None:
            line = line_of(event.step)
            if line not in tasks:
                tasks[line] = progress.add_task(
                    prefix + line, total=None, rows=0, symbols=0, is_daily=False, is_checks=line == CHECKS
                )
            task = progress.tasks[progress.task_ids.index(tasks[line])]
            if event.partition is not None:
                symbols = max(task.fields["symbols"], _symbols(lake, event.step, event.partition))
                rows = task.fields["rows"] + (event.rows or 0)
                progress.update(task.id, advance=1, total=days, is_daily=True, rows=rows, symbols=symbols)
            if event.seconds is not None:
                done = task.completed + 1 if line == CHECKS else max(task.completed, 1)
                progress.update(task.id, total=done, completed=done)

        yield listen


def _text(template: str) -> TextColumn:
    return TextColumn(template, table_column=_column())


def _column() -> Column:
    return Column(no_wrap=True)


def _symbols(lake: Lake, step: str, partition: str) -> int:
    table, key = _TABLES.get(step), Partition.parse(partition)
    return len(lake.symbols(table, key)) if table is not None and lake.exists(table, key) else 0
