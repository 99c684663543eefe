"""A page's bytes to columns: typed structs decoded at once, their fields lifted into arrays, bad rows set aside.

Belongs here: rows of one page, whole and checked. Not here: order, repeats and numbering across pages (`rest_tape.py`).
A float column holds no NaN: JSON has none, and a number out of range is a bad row.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import msgspec
import numpy as np
import polars as pl

from tapewatch.feeds.errors import PageError
from tapewatch.feeds.messages import BarRow, Page, QuoteRow, TradeRow
from tapewatch.market.tables import F64, I8, I16, I64, SYMBOL, TEXT, TIME

Row = TypeVar("Row", bound=msgspec.Struct)
#: Position of a row in its page, from 1.
LINE: Final = "line"
_NS_PER_MS: Final = 1_000_000
# A minute bar's start in milliseconds fits nanoseconds only within these.
_MAX_MS: Final = (2**63 - 1) // _NS_PER_MS


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that could not be read."""

    line: int
    reason: str
    raw: str


@dataclass(frozen=True, slots=True)
class Decoded(Generic[Row]):
    """A page as structs. `lines` is None where every row was read, which is the rule."""

    page: Page[Row]
    rows: list[Row]
    lines: list[int] | None
    bad: list[BadRow]

    @property
    def source_rows(self) -> int:
        """How many rows the server sent."""
        return len(self.rows) + len(self.bad)


class PageDecoder(Generic[Row]):
    """Decodes pages of one kind of row. Raises PageError where the page itself cannot be read."""

    def __init__(self, row: type[Row]) -> None:
        self._fast = msgspec.json.Decoder(Page[row])  # type: ignore[valid-type]  # the row's class is a value here
        self._envelope = msgspec.json.Decoder(Page[msgspec.Raw])
        self._row = msgspec.json.Decoder(row)

    def __call__(self, body: bytes) -> Decoded[Row]:
        try:
            page = self._fast.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._row_by_row(body)
        return Decoded(page, page.results or [], None, [])

    def _row_by_row(self, body: bytes) -> Decoded[Row]:
        envelope = self._decode_envelope(body)
        rows, lines, bad = [], [], []
        for line, raw in enumerate(envelope.results or [], start=1):
            try:
                rows.append(self._row.decode(raw))
                lines.append(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                bad.append(BadRow(line, str(error).replace("`$.", "`"), bytes(raw).decode("utf-8", "replace")))
        page: Page[Row] = Page(
            rows if envelope.results is not None else None,
            *(getattr(envelope, field) for field in Page.__struct_fields__[1:]),
        )
        return Decoded(page, rows, lines, bad)

    def _decode_envelope(self, body: bytes) -> Page[msgspec.Raw]:
        try:
            return self._envelope.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise PageError(f"bad JSON in an answer of {len(body):,} bytes: {error}") from error

    def raw_rows(self, body: bytes, lines: Iterable[int]) -> list[str]:
        """The text of the rows at these positions of a page, from 1."""
        results = self._decode_envelope(body).results or []
        return [bytes(results[line - 1]).decode("utf-8", "replace") for line in lines]


def bar_columns(rows: Sequence[BarRow]) -> pl.DataFrame:
    """time, open, high, low, close, volume, vwap (null where not sent), transactions (likewise)."""
    # One comprehension a field: three times as fast as building rows, and what a decoder's speed comes down to.
    ms = np.clip(np.array([r.t for r in rows], np.int64), -_MAX_MS, _MAX_MS)
    return pl.DataFrame(
        [
            _times("time", ms * _NS_PER_MS),
            pl.Series("open", np.array([r.o for r in rows], np.float64)),
            pl.Series("high", np.array([r.h for r in rows], np.float64)),
            pl.Series("low", np.array([r.l for r in rows], np.float64)),
            pl.Series("close", np.array([r.c for r in rows], np.float64)),
            pl.Series("volume", np.array([r.v for r in rows], np.float64)),
            pl.Series("vwap", [r.vw for r in rows], F64),
            pl.Series("transactions", [r.n for r in rows], I64),
        ]
    )


def trade_columns(rows: Sequence[TradeRow]) -> pl.DataFrame:
    """The columns of TRADES but the symbol; `sequence_number` is null where the vendor gives none."""
    return pl.DataFrame(
        [
            *_tape_times(rows),
            pl.Series("sequence_number", [r.sequence_number for r in rows], I64),
            pl.Series("price", np.array([r.price for r in rows], np.float64)),
            pl.Series("size", np.array([r.size for r in rows], np.float64)),
            pl.Series("exchange", np.array([r.exchange for r in rows], np.int16)),
            _codes("conditions", [r.conditions for r in rows]),
            pl.Series("id", [r.id for r in rows], TEXT),
            pl.Series("correction", [r.correction for r in rows], I8),
            pl.Series("trf_id", [r.trf_id for r in rows], I16),
            _times("trf_time", pl.Series([r.trf_timestamp for r in rows], dtype=I64)),
            pl.Series("tape", [r.tape for r in rows], I8),
        ]
    )


def quote_columns(rows: Sequence[QuoteRow]) -> pl.DataFrame:
    """The columns of QUOTES but the symbol; an absent side has price 0; sizes are null where the vendor gives none."""
    return pl.DataFrame(
        [
            *_tape_times(rows),
            pl.Series("sequence_number", [r.sequence_number for r in rows], I64),
            pl.Series("bid_price", np.array([r.bid_price for r in rows], np.float64)),
            pl.Series("ask_price", np.array([r.ask_price for r in rows], np.float64)),
            pl.Series("bid_size", [r.bid_size for r in rows], F64),
            pl.Series("ask_size", [r.ask_size for r in rows], F64),
            pl.Series("bid_exchange", [r.bid_exchange for r in rows], I16),
            pl.Series("ask_exchange", [r.ask_exchange for r in rows], I16),
            _codes("conditions", [r.conditions for r in rows]),
            _codes("indicators", [r.indicators for r in rows]),
            _times("trf_time", pl.Series([r.trf_timestamp for r in rows], dtype=I64)),
            pl.Series("tape", [r.tape for r in rows], I8),
        ]
    )


def _tape_times(rows: Sequence[TradeRow] | Sequence[QuoteRow]) -> tuple[pl.Series, pl.Series]:
    sip = pl.Series([r.sip_timestamp for r in rows], dtype=I64)
    participant = _times("participant_time", pl.Series([r.participant_timestamp for r in rows], dtype=I64))
    return _times("time", sip).zip_with(sip.is_not_null() & (sip != 0), participant).alias("time"), participant


def _times(name: str, ns: Any) -> pl.Series:
    # The vendor writes 0 where it knows no time.
    values = pl.Series(name, ns, I64)
    return values.zip_with(values != 0, pl.Series([None], dtype=I64)).cast(TIME)


def _codes(name: str, lists: Sequence[tuple[int, ...]]) -> pl.Series:
    """Condition lists as text, each distinct list spelt once."""
    distinct: dict[tuple[int, ...], int] = {}
    index = [distinct.setdefault(codes, len(distinct)) for codes in lists]
    texts = pl.Series(name, [",".join(map(str, codes)) for codes in distinct], SYMBOL)
    return texts.gather(index) if index else texts


def with_lines(frame: pl.DataFrame, lines: list[int] | None) -> pl.DataFrame:
    """`frame` with the position of each row in its page."""
    positions = pl.int_range(1, frame.height + 1, eager=True) if lines is None else pl.Series(lines, dtype=I64)
    return frame.with_columns(positions.alias(LINE))


Columns = Callable[[Sequence[Any]], pl.DataFrame]
