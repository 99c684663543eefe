"""Parses a block of flat-file lines into typed columns, and finds the lines that are not rows."""

import csv
import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.feeds.files.columns import LINE, empty_rows, scan_lines
from tapewatch.feeds.files.layouts import Binding
from tapewatch.feeds.files.scanner import MAX_LINE

#: Lines that are read with care at a time.
_CAREFUL_LINES = 16 * 1024
_NEWLINE = 10
_RAW_CHARACTERS, _VALUE_CHARACTERS = 2_000, 80
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
#: Decimal notation of numbers, with an exponent or without; `inf` and `nan` are read, and refused as values.
_FLOAT = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?$|^[+-]?(?i:inf(inity)?|nan)$"
_INTEGER = r"^\d+$"


class BadLine(NamedTuple):
    """A line that is not a row."""

    line: int
    reason: str
    raw: str


@dataclass(frozen=True, slots=True)
class Parsed:
    """Well-formed rows in the file's columns with their line numbers (`line`), the bad lines, and the number of lines."""

    rows: pl.DataFrame
    bad: list[BadLine]
    lines: int


def parse_block(binding: Binding, block: memoryview, first_line: int, most_bad: int | None = None) -> Parsed:
    """Parse whole lines. `first_line` is the number of the block's first line, from 1 and counting the header.

    The compiled scanner reads the plain lines, and the careful path the others. Once more than `most_bad` lines are bad the
    rest of the block is left unread.
    """
    frames, bad, lines = [], [], 0
    for frame, unsure, numbers in scan_lines(binding, block, first_line):
        lines += frame.height + len(unsure)
        parts = [frame]
        for start in range(0, len(unsure), _CAREFUL_LINES):
            end = start + _CAREFUL_LINES
            rows, faults = _parse_carefully(binding, unsure[start:end], numbers[start:end])
            parts.append(rows.cast(dict(frame.schema)))  # type: ignore[arg-type]
            bad += faults
            if most_bad is not None and len(bad) > most_bad:
                return Parsed(empty_rows(binding), bad, lines)
        frames.append(pl.concat(parts).sort(LINE) if unsure else frame)
    return Parsed(pl.concat(frames) if frames else empty_rows(binding), bad, lines)


def line_texts(block: memoryview, first_line: int, wanted: npt.NDArray[np.int64]) -> list[str]:
    """The text of the wanted line numbers of a block."""
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == _NEWLINE)
    starts = np.concatenate(([0], ends + 1))
    return [_text(bytes(block[starts[i] : ends[i]])) for i in wanted - first_line]


def _text(line: bytes) -> str:
    text = line.decode("utf-8", "backslashreplace").removesuffix("\r")
    return text if len(text) <= _RAW_CHARACTERS else f"{text[:_RAW_CHARACTERS]}… ({len(line):,} bytes)"


def _parse_carefully(
    binding: Binding, lines: list[bytes], numbers: npt.NDArray[np.int64]
) -> tuple[pl.DataFrame, list[BadLine]]:
    """The rows among the lines, and the bad lines; no line has an effect on another."""
    fields: list[list[str]] = []
    kept: list[int] = []
    bad: list[BadLine] = []
    for i, line in enumerate(lines):
        values, fault = _split_fields(line, len(binding.header))
        if fault:
            bad.append(BadLine(int(numbers[i]), fault, _text(line.removesuffix(b"\n"))))
        else:
            fields.append(values)
            kept.append(i)
    text = pl.DataFrame(fields, schema=dict.fromkeys(binding.header, pl.String), orient="row")
    text = text.select(pl.all().str.strip_chars().replace("", None))
    rows, faults = _typed(binding, text)
    bad += [BadLine(int(numbers[kept[i]]), fault, _text(lines[kept[i]].removesuffix(b"\n"))) for i, fault in faults]
    is_sound = np.ones(rows.height, np.bool_)
    is_sound[[i for i, _ in faults]] = False
    rows = rows.with_columns(pl.Series(LINE, numbers[kept], dtype=pl.Int64)).filter(pl.Series(is_sound))
    return rows, sorted(bad)


def _split_fields(line: bytes, expected: int) -> tuple[list[str], str]:
    if len(line) > MAX_LINE:
        return [], f"a line of {len(line):,} bytes; {MAX_LINE:,} are the most"
    try:
        text = line.decode().removesuffix("\n").removesuffix("\r")
        values = next(csv.reader([text], strict=True), [])
    except UnicodeDecodeError as error:
        return [], f"not UTF-8 text: byte {line[error.start]:#04x} at position {error.start}"
    except csv.Error as error:
        return [], f"quoting is broken: {error}"
    if len(values) != expected:
        return [], f"{len(values)} fields, expected {expected}"
    if found := _CONTROL.search(text):
        return [], f"a control character, {ord(found[0]):#04x}, at position {found.start()}"
    return values, ""


def _typed(binding: Binding, text: pl.DataFrame) -> tuple[pl.DataFrame, list[tuple[int, str]]]:
    """The fields as the file's columns; and the index of each row that does not convert, with the reason, ascending."""
    columns, faults = [], dict[int, str]()
    for name, dtype in binding.parse_schema.items():
        given = text[name]
        if name not in binding.layout.columns:
            columns.append(pl.Series(name, [None], dtype=pl.String).new_from_index(0, text.height))
            continue
        if not dtype.is_numeric():
            columns.append(given)
            continue
        is_number = given.str.contains(_FLOAT if dtype.is_float() else _INTEGER)
        values = given.set(~is_number, None).cast(dtype, strict=False)
        what = "a number" if dtype.is_float() else "a whole number in range"
        for i in (values.is_null() & given.is_not_null()).arg_true():
            faults.setdefault(i, f"{name}: {_shown(given[i])} is not {what}")
        columns.append(values)
    return pl.DataFrame(columns), sorted(faults.items())


def _shown(value: str) -> str:
    return repr(value if len(value) <= _VALUE_CHARACTERS else f"{value[:_VALUE_CHARACTERS]}…")
