"""The definition of a feature."""

from collections.abc import Iterable
from dataclasses import dataclass

from tapewatch.market.schema import Table


@dataclass(frozen=True, slots=True)
class Definition:
    """A feature: a column of a table, which gives its meaning and unit, and how it is computed.

    `warm_up` is the number of rows, the feature's own included, on which a value depends beside the price and quote in force
    when they begin: computed from any earlier start it is the same. In regular hours a minute is a row. None if the value
    depends on the symbol's whole part of the day: before, in or after regular hours. `version` grows when the meaning changes.
    """

    table: Table
    name: str
    window: str
    warm_up: int | None
    inputs: str
    source: str
    nulls: str
    version: int = 1

    @property
    def description(self) -> str:
        return self.table.by_name[self.name].description

    @property
    def unit(self) -> str:
        """The column's unit; empty for a pure number."""
        return self.table.by_name[self.name].unit

    @property
    def warm_up_words(self) -> str:
        """The warm-up, for people."""
        return "part of the day" if self.warm_up is None else f"{self.warm_up} row" + "s" * (self.warm_up > 1)


Row = tuple[str, str, int | None, str, str, str]


def define(table: Table, rows: Iterable[Row], version: int = 1) -> tuple[Definition, ...]:
    """Definitions of a table's features from (name, window, warm-up, inputs, source, nulls)."""
    return tuple(Definition(table, *row, version=version) for row in rows)
