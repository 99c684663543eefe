"""Renders rows as a table for a person, as CSV or as JSON."""

import csv
import io
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from rich.table import Table

from orchestration.errors import output
from orchestration.runs.times import iso_time

#: How a spreadsheet recognises a formula (OWASP, CSV injection).
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_SECOND = "%Y-%m-%d %H:%M:%S"
#: A row of a frame, as a mapping, or any other object that the columns understand.
Row = Any


class Format(StrEnum):
    TABLE = "table"
    CSV = "csv"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Field:
    """A value for programs: its name in CSV and JSON, and how to get it from a row (default: the row's value of that name)."""

    name: str
    value: Callable[[Row], Any] | None = None
    in_csv: bool = True


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table: its heading, and its text for a row, with Rich's markup (default: the row's value of that name).

    A column that `folds` takes the room that is left.
    """

    heading: str
    text: Callable[[Row], str] | None = None
    is_number: bool = False
    folds: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """The title, the table's columns and the programs' fields of one kind of rows; `style` is that of a row."""

    title: Callable[[Sequence[Row]], str]
    columns: Sequence[Column]
    fields: Sequence[Field] = ()
    style: Callable[[Row], str] = lambda _: ""
    is_boxed: bool = True

    def show(self, rows: Sequence[Row], form: Format) -> None:
        match form:
            case Format.TABLE:
                output().print(self.table(rows))
            case Format.CSV:
                sys.stdout.write(self.csv(rows))
            case Format.JSON:
                sys.stdout.write(self.json(rows))

    def csv(self, rows: Sequence[Row]) -> str:
        """A header, then a line per row; an unknown value is empty, and lists are JSON.

        Text that a spreadsheet would run as a formula is led by an apostrophe.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        fields = [field for field in self.fields if field.in_csv]
        writer.writerow(field.name for field in fields)
        writer.writerows([_cell(_value(field, row)) for field in fields] for row in rows)
        return text.getvalue()

    def json(self, rows: Sequence[Row]) -> str:
        """A list of objects; an unknown value is null."""
        return json.dumps([{field.name: _value(field, row) for field in self.fields} for row in rows], indent=1) + "\n"

    def table(self, rows: Sequence[Row]) -> Table:
        # Without lines a wide table fits the 80 columns of a plain terminal.
        plain = {} if self.is_boxed else {"box": None, "padding": (0, 1, 0, 0), "pad_edge": False}
        table = Table(title=self.title(rows) or None, title_justify="left", **plain)
        for column in self.columns:
            justify = "right" if column.is_number else "left"
            overflow = "fold" if column.folds else "ellipsis"
            table.add_column(column.heading, justify=justify, overflow=overflow, no_wrap=not column.folds)
        for row in rows:
            texts = (column.text(row) if column.text else str(row[column.heading]) for column in self.columns)
            table.add_row(*texts, style=self.style(row))
        return table


def counted(noun: str, plural: str = "") -> Callable[[Sequence[Row]], str]:
    """A title such as `1 gap` or `1,204 gaps`."""
    return lambda rows: f"{len(rows):,} {noun if len(rows) == 1 else plural or noun + 's'}"


def time_span(row: Row, if_unended: str) -> str:
    """Two lines: the start of a row, and its end, without the date if that is the same; UTC."""
    start, end = row["start_time"], row["end_time"]
    if end is None:
        return f"{start:{_SECOND}}\n{if_unended}"
    return f"{start:{_SECOND}}\n" + (f"{end:%H:%M:%S}".rjust(19) if end.date() == start.date() else f"{end:{_SECOND}}")


def time_field(name: str, column: str, *, in_csv: bool = True) -> Field:
    """A column of times as ISO 8601 in UTC."""
    return Field(name, lambda row: None if row[column] is None else iso_time(row[column]), in_csv)


def _cell(value: Any) -> Any:
    if isinstance(value, list | dict):
        value = json.dumps(value)
    if not isinstance(value, str):
        return value
    is_formula = value.startswith(_FORMULA) and not _NUMBER.fullmatch(value)
    # The csv module leaves a carriage return without quotes, and readers end the row there.
    return ("'" if is_formula else "") + value.replace("\r", "\n")


def _value(field: Field, row: Row) -> Any:
    return row[field.name] if field.value is None else field.value(row)
