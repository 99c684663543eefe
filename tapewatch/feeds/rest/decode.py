"""Decodes a page into structs or columns, and sets aside the rows that cannot be read.

A float column holds no NaN: JSON has none, and a number out of range is a bad row.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import msgspec
import numpy as np
import polars as pl

from tapewatch.feeds.errors import PageError
from tapewatch.feeds.rest import bar_scanner
from tapewatch.feeds.rest.columns import Floats, Ints, bar_columns, scanned_columns
from tapewatch.feeds.rest.messages import BarRow, Page
from tapewatch.market.tables.tape import I64

Row = TypeVar("Row", bound=msgspec.Struct)
Envelope = TypeVar("Envelope", bound=msgspec.Struct)
#: Position of a row in its page, from 1.
LINE: Final = "line"
# No row with all required fields is shorter; a page of shorter ones is read the careful way.
_SHORTEST_ROW: Final = 25
_ROWS_ENVELOPE: Final = msgspec.json.Decoder(Page[msgspec.Raw])


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that could not be read."""

    line: int
    reason: str
    raw: str


@dataclass(frozen=True, slots=True)
class Decoded(Generic[Row]):
    """A page as structs. `lines` holds the position of each row, None where every row was read."""

    page: Page[Row]
    rows: list[Row]
    lines: list[int] | None
    bad: list[BadRow]

    @property
    def source_rows(self) -> int:
        """How many rows the server sent."""
        return len(self.rows) + len(self.bad)


@dataclass(frozen=True, slots=True)
class DecodedColumns:
    """A page as columns, with the position of each row (`LINE`)."""

    page: Page[Any]
    frame: pl.DataFrame
    bad: list[BadRow]

    @property
    def source_rows(self) -> int:
        """How many rows the server sent."""
        return self.frame.height + len(self.bad)


class PageDecoder(Generic[Row]):
    """Decodes pages of one kind of row into structs; raises PageError if the page itself cannot be read."""

    def __init__(self, row: type[Row]) -> None:
        self._fast = msgspec.json.Decoder(Page[row])  # type: ignore[valid-type]  # the row's class is a value here
        self._row = msgspec.json.Decoder(row)

    def __call__(self, body: bytes) -> Decoded[Row]:
        try:
            page = self._fast.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._row_by_row(body)
        return Decoded(page, page.results or [], None, [])

    def _row_by_row(self, body: bytes) -> Decoded[Row]:
        envelope = _decoded(_ROWS_ENVELOPE, body)
        rows, lines, bad = [], [], []
        for line, raw in enumerate(envelope.results or [], start=1):
            row = careful(self._row, line, bytes(raw))
            if isinstance(row, BadRow):
                bad.append(row)
            else:
                rows.append(row)
                lines.append(line)
        fields = {name: getattr(envelope, name) for name in Page.__struct_fields__}
        page: Page[Row] = Page(**fields | {"results": None if envelope.results is None else rows})
        return Decoded(page, rows, lines, bad)


class ColumnsDecoder(Generic[Row]):
    """Decodes pages of one kind of row into structs, and those into columns."""

    def __init__(self, row: type[Row], columns: Callable[[Sequence[Row]], pl.DataFrame]) -> None:
        self._decode = PageDecoder(row)
        self._columns = columns

    def __call__(self, body: bytes) -> DecodedColumns:
        decoded = self._decode(body)
        return DecodedColumns(decoded.page, _with_lines(self._columns(decoded.rows), decoded.lines), decoded.bad)


class _Slice(msgspec.Struct):
    """An envelope with its results not decoded."""

    results: msgspec.Raw = msgspec.Raw()


class BarsDecoder:
    """Decodes pages of aggregates into columns: msgspec validates and splits the page, a compiled scanner reads the rows."""

    def __init__(self) -> None:
        self._slice = msgspec.json.Decoder(_Slice)
        self._row = msgspec.json.Decoder(BarRow)
        self._by_rows = ColumnsDecoder(BarRow, bar_columns)

    def __call__(self, body: bytes) -> DecodedColumns:
        raw = _decoded(self._slice, body).results
        text, whole = np.frombuffer(raw, np.uint8), np.frombuffer(body, np.uint8)
        if not len(text) or text[0] != ord("[") or not np.may_share_memory(text, whole):
            return self._by_rows(body)
        # The slice is a view of the page, so its address gives its position there.
        start = text.ctypes.data - whole.ctypes.data
        room = len(text) // _SHORTEST_ROW + 1
        ints, floats = np.empty((2, room), np.int64), np.empty((len(bar_scanner.FLOATS), room))
        unsure = np.empty((room, 3), np.int64)
        rows, left = bar_scanner.scan(text, ints, floats, unsure)
        if rows < 0:
            return self._by_rows(body)
        bad = self._read_carefully(bytes(raw) if left else b"", unsure[:left], ints, floats)
        # The rows are read: decode the rest of the page as its envelope.
        page = _decoded(_ROWS_ENVELOPE, body[:start] + b"[]" + body[start + len(text) :])
        frame = _with_lines(scanned_columns(ints[:, :rows], floats[:, :rows]), None)
        if bad:
            frame = frame.filter(~pl.col(LINE).is_in([row.line for row in bad]))
        return DecodedColumns(page, frame, bad)

    def _read_carefully(self, raw: bytes, unsure: Ints, ints: Ints, floats: Floats) -> list[BadRow]:
        bad = []
        for at, start, end in unsure.tolist():
            row = careful(self._row, at + 1, raw[start:end])
            if isinstance(row, BadRow):
                bad.append(row)
                continue
            ints[:, at] = row.t, bar_scanner.NULL_INT if row.n is None else row.n
            floats[:, at] = row.o, row.h, row.l, row.c, row.v, np.nan if row.vw is None else row.vw
        return bad


def careful(decoder: msgspec.json.Decoder[Row], line: int, raw: bytes) -> Row | BadRow:
    """One row, or why it cannot be read."""
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return BadRow(line, str(error).replace("`$.", "`"), raw.decode("utf-8", "replace"))


def raw_rows(body: bytes, lines: Iterable[int]) -> list[str]:
    """The text of the rows at these positions of a page, from 1."""
    results = _decoded(_ROWS_ENVELOPE, body).results or []
    return [bytes(results[line - 1]).decode("utf-8", "replace") for line in lines]


def _decoded(decoder: msgspec.json.Decoder[Envelope], body: bytes) -> Envelope:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PageError(f"bad JSON in an answer of {len(body):,} bytes: {error}") from error


def _with_lines(frame: pl.DataFrame, lines: list[int] | None) -> pl.DataFrame:
    positions = pl.int_range(1, frame.height + 1, eager=True) if lines is None else pl.Series(lines, dtype=I64)
    return frame.with_columns(positions.alias(LINE))
