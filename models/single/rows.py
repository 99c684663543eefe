"""A CSV of timestamps and values as a stream: one row out for every row in, in the same order."""

import csv
import datetime as dt
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

import numpy as np

from models.base import DetectorError
from models.single.watch import SeriesWatch

#: Cells that say that a value is missing.
_MISSING: Final = frozenset({"", "nan", "na", "n/a", "null", "none", "-nan"})
#: Numbers as large are Unix times in milliseconds, microseconds and nanoseconds.
_UNITS: Final = ((1e17, 1e-9), (1e14, 1e-6), (1e11, 1e-3))
_UTC_START: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_SECOND: Final = dt.timedelta(seconds=1)


class RowError(DetectorError):
    """A CSV lacks a column, or a cell cannot be read; the message names the file and the line."""


@dataclass(frozen=True)
class Row:
    """A row as written and as read: `time` in seconds UTC, `value` NaN where missing."""

    stamp: str
    cell: str
    time: float
    value: float


@dataclass(frozen=True)
class Columns:
    """Names of the columns to read."""

    time: str = "timestamp"
    value: str = "value"


def time_of(cell: str) -> float:
    """Seconds since 1970, UTC, of an ISO 8601 time or of a number; a time without an offset is UTC.

    A number is in seconds, or a count of rows; from 1e11 on in milliseconds, from 1e14 microseconds, from 1e17 nanoseconds.

    Raises:
        ValueError: it is neither.
    """
    text = cell.strip()
    try:
        number = float(text)
    except ValueError:
        time = dt.datetime.fromisoformat(text)
        return ((time if time.tzinfo else time.replace(tzinfo=dt.UTC)) - _UTC_START) / _SECOND
    if not math.isfinite(number):
        raise ValueError(f"{cell} is no time")
    return number * next((unit for least, unit in _UNITS if abs(number) >= least), 1.0)


def value_of(cell: str) -> float:
    """The number; NaN where the cell is empty, NaN, NA, N/A, null or None.

    Raises:
        ValueError: it is no number.
    """
    text = cell.strip()
    return math.nan if text.lower() in _MISSING else float(text)


def read(lines: Iterable[str], name: str, columns: Columns) -> Iterator[Row]:
    """The rows of a CSV, each as soon as its line has been read. Blank lines are no rows.

    Raises:
        RowError: there is no header with the columns, or a cell cannot be read.
    """
    reader = csv.reader(lines)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        if header:
            header[0] = header[0].removeprefix("\ufeff")
        time_at, value_at = (_place(header, column, name) for column in (columns.time, columns.value))
        for cells in reader:
            if cells:
                yield _row(cells, time_at, value_at, f"{name}, line {reader.line_num}")
    except csv.Error as error:
        raise RowError(f"{name}, line {reader.line_num}: {error}") from None
    except UnicodeDecodeError:
        raise RowError(f"{name} after line {reader.line_num}: no UTF-8 text") from None


def _place(header: list[str], column: str, name: str) -> int:
    if column not in header:
        there = ", ".join(header) or "nothing"
        raise RowError(
            f"{name}, line 1: no column '{column}' (there is: {there}). Name the columns with --time and --value"
        )
    return header.index(column)


def _row(cells: list[str], time_at: int, value_at: int, where: str) -> Row:
    if len(cells) <= max(time_at, value_at):
        raise RowError(f"{where}: {len(cells)} cells, and the header has more")
    stamp, cell = cells[time_at], cells[value_at]
    try:
        time = time_of(stamp)
    except (ValueError, OverflowError):
        raise RowError(
            f"{where}: '{stamp}' is no time. Write it as 2024-03-05T14:30:00, or as a number of seconds"
        ) from None
    try:
        return Row(stamp, cell, time, value_of(cell))
    except ValueError:
        raise RowError(f"{where}: '{cell}' is no number. Leave the cell empty where the value is missing") from None


def blocks(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    """The rows in lists of `size`; those before a row that cannot be read come before its error."""
    block: list[Row] = []
    try:
        for row in rows:
            block.append(row)
            if len(block) == size:
                yield block
                block = []
    except RowError:
        yield block
        raise
    yield block


class ScoreWriter:
    """Scores blocks of rows and writes them as CSV, each block flushed; with a state file, a killed watch goes on.

    `done` is the number of rows that an earlier call has written; None where there was none, and the header is due.
    """

    def __init__(
        self, out: TextIO, watch: SeriesWatch, columns: Columns, *, done: int | None, state: Path | None
    ) -> None:
        self._out = out
        self._watch = watch
        self._state = state
        self._writer = csv.writer(out, lineterminator="\n")
        #: Rows scored, those before a resumption included.
        self.rows = done or 0
        if done is None:
            self._writer.writerow([columns.time, columns.value, "score"])
            out.flush()

    def write(self, block: list[Row]) -> None:
        """Score a block of rows and write it."""
        if not block:
            return
        scores = self._watch.scan(np.array([row.value for row in block]), np.array([row.time for row in block]))
        self._writer.writerows(
            (row.stamp, row.cell, repr(score)) for row, score in zip(block, scores.tolist(), strict=True)
        )
        self._out.flush()
        self.rows += len(block)

    def save(self) -> None:
        """Keep the state of the watch, and how much of the output belongs to it."""
        if self._state is None:
            return
        os.fsync(self._out.fileno())
        self._watch.save(self._state, rows=self.rows, bytes=self._out.buffer.tell())
