"""Converts rows of the REST API, as structs or scanned numbers, to typed columns."""

from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.feeds.rest import bar_scanner
from tapewatch.feeds.rest.messages import BarRow, FuturesTradeRow, QuoteRow, TradeRow
from tapewatch.market.tables.tape import F64, I8, I16, I64, SYMBOL, TEXT, TIME

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
_NS_PER_MS: Final = 1_000_000
# Larger times in milliseconds do not fit an int64 of nanoseconds.
_MAX_MS: Final = (2**63 - 1) // _NS_PER_MS


def bar_columns(rows: Sequence[BarRow]) -> pl.DataFrame:
    """time, open, high, low, close, volume, and vwap and transactions, which are null where not sent."""
    ints = np.array([[r.t for r in rows], [bar_scanner.NULL_INT if r.n is None else r.n for r in rows]], np.int64)
    floats = [[r.o for r in rows], [r.h for r in rows], [r.l for r in rows], [r.c for r in rows], [r.v for r in rows]]
    vwap = [np.nan if r.vw is None else r.vw for r in rows]
    return scanned_columns(ints, np.array([*floats, vwap], np.float64))


def scanned_columns(ints: Ints, floats: Floats) -> pl.DataFrame:
    """The same from the outputs of `bar_scanner.scan`."""
    ms, transactions = ints
    time = _times("time", np.clip(ms, -_MAX_MS, _MAX_MS) * _NS_PER_MS)
    values = [pl.Series(name, column) for name, column in zip(bar_scanner.FLOATS, floats, strict=True)]
    frame = pl.DataFrame([time, *values, pl.Series("transactions", transactions)])
    return frame.with_columns(
        pl.col("vwap").fill_nan(None),
        pl.when(pl.col("transactions") != bar_scanner.NULL_INT).then("transactions").alias("transactions"),
    )


def trade_columns(rows: Sequence[TradeRow]) -> pl.DataFrame:
    """The columns of TRADES without the symbol; `sequence_number` is null where the vendor gives none."""
    return pl.DataFrame(
        [
            *_tape_times(rows),
            *same_columns(rows, sequence_number=I64, price=F64),
            sizes(rows),
            *same_columns(rows, exchange=I16),
            _codes("conditions", [r.conditions for r in rows]),
            *same_columns(rows, id=TEXT, correction=I8, trf_id=I16),
            _times("trf_time", pl.Series([r.trf_timestamp for r in rows], dtype=I64)),
            *same_columns(rows, tape=I8),
        ]
    )


def quote_columns(rows: Sequence[QuoteRow]) -> pl.DataFrame:
    """The columns of QUOTES without the symbol; an absent side has price 0; sizes are null where the vendor gives none."""
    sides = {
        "bid_price": F64,
        "ask_price": F64,
        "bid_size": F64,
        "ask_size": F64,
        "bid_exchange": I16,
        "ask_exchange": I16,
    }
    return pl.DataFrame(
        [
            *_tape_times(rows),
            *same_columns(rows, sequence_number=I64, **sides),
            *(_codes(name, list(map(attrgetter(name), rows))) for name in ("conditions", "indicators")),
            _times("trf_time", pl.Series([r.trf_timestamp for r in rows], dtype=I64)),
            *same_columns(rows, tape=I8),
        ]
    )


def same_columns(rows: Sequence[Any], **types: pl.DataType) -> Iterator[pl.Series]:
    """The columns whose names are also the vendor's."""
    return (pl.Series(name, list(map(attrgetter(name), rows)), dtype) for name, dtype in types.items())


def sizes(rows: Sequence[TradeRow] | Sequence[FuturesTradeRow]) -> pl.Series:
    """The traded amounts, with their fraction where the vendor states it; null where no finite number is stated."""
    whole = pl.Series("size", [r.size for r in rows], F64)
    exact = [r.decimal_size for r in rows]
    if not any(size is not None for size in exact):
        return whole
    texts = pl.Series("size", [None if size is None else str(size) for size in exact], TEXT)
    numbers = texts.str.strip_chars().cast(F64, strict=False)
    is_number = numbers.is_finite().fill_null(value=False)
    return numbers.zip_with(is_number, pl.Series([None], dtype=F64)).zip_with(texts.is_not_null(), whole).alias("size")


def _tape_times(rows: Sequence[TradeRow] | Sequence[QuoteRow]) -> tuple[pl.Series, pl.Series]:
    sip = pl.Series([r.sip_timestamp for r in rows], dtype=I64)
    participant = _times("participant_time", pl.Series([r.participant_timestamp for r in rows], dtype=I64))
    return _times("time", sip).zip_with(sip.is_not_null() & (sip != 0), participant).alias("time"), participant


def _times(name: str, ns: Any) -> pl.Series:
    # The vendor writes 0 for an unknown time.
    values = pl.Series(name, ns, I64)
    return values.zip_with(values != 0, pl.Series([None], dtype=I64)).cast(TIME)


def _codes(name: str, lists: Sequence[tuple[int, ...]]) -> pl.Series:
    """Condition lists as text; each distinct list is formatted once."""
    distinct: dict[tuple[int, ...], int] = {}
    index = [distinct.setdefault(codes, len(distinct)) for codes in lists]
    texts = pl.Series(name, [",".join(map(str, codes)) for codes in distinct], SYMBOL)
    return texts.gather(index) if index else texts
