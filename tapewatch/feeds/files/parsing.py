"""Parses a block of flat-file lines into typed columns, and finds the lines that are not rows."""

import csv
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.feeds.files.columns import LINE, empty_rows, scan_lines
from tapewatch.feeds.files.layouts import Binding

#: Lines that do not parse together are split into this many pieces, and so is each piece that does not parse.
_PIECES = 8
_SMALLEST_PIECE_LINES = 64
_NEWLINE, _COMMA, _QUOTE = 10, 44, b'"'


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


def parse_block(binding: Binding, block: memoryview, first_line: int) -> Parsed:
    """Parse whole lines. `first_line` is the number of the block's first line, from 1 and counting the header.

    The compiled scanner reads the plain lines, and the careful path the others.
    """
    frames, bad, lines = [], [], 0
    for frame, unsure, numbers in scan_lines(binding, block, first_line):
        frames.append(frame)
        lines += frame.height + len(unsure)
        if unsure:
            careful = _parse_carefully(binding, unsure, numbers)
            frames[-1] = pl.concat([frame, careful.rows.cast(dict(frame.schema))]).sort(LINE)  # type: ignore[arg-type]
            bad += careful.bad
    return Parsed(pl.concat(frames) if frames else empty_rows(binding), bad, lines)


def _parse_carefully(binding: Binding, lines: list[bytes], numbers: npt.NDArray[np.int64]) -> Parsed:
    rows = _parse_whole(binding, b"".join(lines), len(lines))
    if rows is not None:
        return Parsed(rows.with_columns(pl.Series(LINE, numbers)), [], len(lines))
    if len(lines) <= _SMALLEST_PIECE_LINES:
        return _parse_lines(binding, lines, numbers)
    size = len(lines) // _PIECES + 1
    pieces = [
        _parse_carefully(binding, lines[start : start + size], numbers[start : start + size])
        for start in range(0, len(lines), size)
    ]
    bad = [fault for piece in pieces for fault in piece.bad]
    return Parsed(pl.concat(piece.rows for piece in pieces), bad, len(lines))


def line_texts(block: memoryview, first_line: int, wanted: npt.NDArray[np.int64]) -> list[str]:
    """The text of the wanted line numbers of a block."""
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == _NEWLINE)
    starts = np.concatenate(([0], ends + 1))
    return [_text(bytes(block[starts[i] : ends[i]])) for i in wanted - first_line]


def _text(line: bytes) -> str:
    return line.decode("utf-8", "backslashreplace").removesuffix("\r")


def _text_schema(binding: Binding) -> pl.Schema:
    return pl.Schema(
        {name: pl.String() if dtype == pl.Categorical() else dtype for name, dtype in binding.parse_schema.items()}
    )


def _parse_whole(binding: Binding, block: bytes, lines: int) -> pl.DataFrame | None:
    """The block as a frame, or None if any line of it may be malformed."""
    try:
        frame = pl.read_csv(block, has_header=False, schema=_text_schema(binding))
    except pl.exceptions.PolarsError:
        return None
    if frame.height != lines:
        return None
    # The parser fills short rows with nulls, so a null in the last column may be a row that ends early.
    if frame[:, -1].null_count() and _commas(frame, block) != lines * (len(binding.header) - 1):
        return None
    return frame


def _commas(frame: pl.DataFrame, block: bytes) -> int:
    """The number of commas that separate fields, so without those inside quoted text."""
    total = int(np.count_nonzero(np.frombuffer(block, np.uint8) == _COMMA))
    if _QUOTE not in block:
        return total
    inside = frame.select(pl.col(pl.String).str.count_matches(",", literal=True).sum())
    return total - sum(count or 0 for count in inside.row(0))


def _parse_lines(binding: Binding, lines: list[bytes], numbers: npt.NDArray[np.int64]) -> Parsed:
    fields: list[list[str | None]] = []
    kept: list[int] = []
    raws: list[str] = []
    bad: list[BadLine] = []
    for number, line in zip(numbers.tolist(), lines, strict=True):
        raw = _text(line.removesuffix(b"\n"))
        values, fault = _split_fields(line, len(binding.header))
        if fault:
            bad.append(BadLine(number, fault, raw))
            continue
        fields.append([value.strip() or None for value in values])
        kept.append(number)
        raws.append(raw)
    text = pl.DataFrame(fields, schema=dict.fromkeys(binding.header, pl.String), orient="row")
    rows = text.cast(dict(_text_schema(binding)), strict=False)  # type: ignore[arg-type]
    faults = _unreadable(text, rows)
    bad += [BadLine(kept[i], fault, raws[i]) for i, fault in faults.items()]
    is_sound = [i not in faults for i in range(rows.height)]
    rows = rows.with_columns(pl.Series(LINE, kept, dtype=pl.Int64)).filter(pl.Series(is_sound, dtype=pl.Boolean))
    return Parsed(rows, sorted(bad), len(lines))


def _split_fields(line: bytes, expected: int) -> tuple[list[str], str]:
    try:
        text = line.decode().removesuffix("\n").removesuffix("\r")
        values = next(csv.reader([text], strict=True), [])
    except UnicodeDecodeError as error:
        return [], f"not UTF-8 text: byte {line[error.start]:#04x} at position {error.start}"
    except csv.Error as error:
        return [], f"quoting is broken: {error}"
    if len(values) != expected:
        return [], f"{len(values)} fields, expected {expected}"
    return values, ""


def _unreadable(text: pl.DataFrame, rows: pl.DataFrame) -> dict[int, str]:
    """Row index to reason, for values that the cast could not convert."""
    faults: dict[int, str] = {}
    for name in text.columns:
        lost = (rows[name].is_null() & text[name].is_not_null()).arg_true()
        what = "a number" if rows[name].dtype.is_float() else "a whole number in range"
        for i in lost:
            faults.setdefault(i, f"{name}: {text[name][i]!r} is not {what}")
    return faults
