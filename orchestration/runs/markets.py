"""Work on several markets, each on its own: one that cannot run takes no other down."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from orchestration.errors import message_of
from tapewatch.market.instruments import Market

if TYPE_CHECKING:
    from orchestration.runs.runs import RunReport


@dataclass
class Outcomes:
    """What became of each of `markets`: a line in `done` or `failed`, or neither if its work was not finished."""

    markets: Sequence[Market]
    done: dict[Market, str] = field(default_factory=dict)
    failed: dict[Market, str] = field(default_factory=dict)

    @property
    def left(self) -> list[Market]:
        """The markets that have not failed."""
        return [market for market in self.markets if market not in self.failed]

    @contextmanager
    def of(self, market: Market) -> Iterator[None]:
        """Work on one market: an expected error fails it alone. The error of the only market is raised as it is."""
        try:
            yield
        except Exception as error:
            message = message_of(error)
            if message is None or len(self.markets) == 1:
                raise
            self.done.pop(market, None)
            self.failed[market] = message

    def show(self, console: Console) -> None:
        """Print a line per market; nothing if there is only one, whose output says it."""
        if len(self.markets) == 1:
            return
        table = Table("market", "result", title="Markets", title_justify="left")
        for market in self.markets:
            if market in self.failed:
                table.add_row(market, f"[red]failed:[/] {escape(self.failed[market])}")
            else:
                table.add_row(market, escape(self.done.get(market, "not finished")))
        console.print(table)


def in_short(report: "RunReport", days: int) -> str:
    """A run over `days` days in a line: `5 days, 32 checks passed`."""
    failed = sorted(set(report.failed_checks))
    checks = f"failed checks: {', '.join(failed)}" if failed else f"{report.checks} checks passed"
    return f"{days} day{'' if days == 1 else 's'}, {checks}"
