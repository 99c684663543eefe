"""Streamed trades and quotes as columns of the tick buffers, with codes for symbols and a number that identifies ticks."""

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl

from tapewatch.market.arrays import Array, flat, trade_traits, withdrawn
from tapewatch.market.conditions import STOCK_UPDATE_RULES
from tapewatch.market.copies import HAS_ID, identity
from tapewatch.market.instruments import Session
from tapewatch.market.tables.tape import TRADES
from tapewatch.streaming.live.tick_buffer import Columns

# Digits of an id, padded on the right, and their count sort as the text does and leave room for the exchange.
_DIGITS, _EXCHANGE_SHIFT = 13, 48
_UNSET = -1
# Before every number of a tape.
_UNNUMBERED = -(2**62)
# What tells trades of one number apart: exchange and id, or all that they state.
_NAMED, _CONTENT = ("exchange", "id"), ("time", "price", "size", "exchange", "conditions")


class _ByCategory:
    """Values by the physical code of a category; `values_of` computes those of a series of new categories, 0 or more."""

    def __init__(self, values_of: Callable[[pl.Series], Array]) -> None:
        self._values_of = values_of
        self._values = np.full(64, _UNSET, dtype=np.int64)
        # Categories are shared within the process; a series that is held keeps their physical codes.
        self._held: list[pl.Series] = []

    def __call__(self, categories: pl.Series) -> Array:
        physical = flat(categories)
        highest = int(physical.max())
        if highest >= self._values.size:
            self._values = np.append(self._values, np.full(2 * highest, _UNSET))
        values = self._values[physical]
        if values.min() == _UNSET:
            new = categories.filter(pl.Series(values == _UNSET)).unique(maintain_order=True)
            self._values[flat(new)] = self._values_of(new)
            self._held.append(new)
            values = self._values[physical]
        return values


class SymbolCodes:
    """Numbers symbols from 0 in order of appearance; `codes` gives the code of each row's symbol."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._by_name: dict[str, int] = {}
        self.codes = _ByCategory(lambda symbols: self.add(symbols.cast(pl.String).to_list()))

    def add(self, names: Sequence[str]) -> Array:
        """Number symbols by name; returns their codes."""
        for name in names:
            if name not in self._by_name:
                self._by_name[name] = len(self.names)
                self.names.append(name)
        return np.array([self._by_name[name] for name in names], dtype=np.int64)


class Arrivals:
    """Turns frames into columns; numbers ticks without an identity by arrival, to keep their order."""

    def __init__(self, session: Session) -> None:
        self.symbols = SymbolCodes()
        self._session = session
        self._count = 0
        self._traits = _ByCategory(self._traits_of)

    def trades(self, frame: pl.DataFrame) -> tuple[Columns, Array]:
        """`STREAM_TRADES` rows as `TRADE_COLUMNS`, and whether each has an identity (see `market.copies`)."""
        key = identity(TRADES, self._session.market)
        if "id" in key and "sequence_number" not in key:
            (number, is_known), tag = self._numbers_by_id(frame), np.zeros(frame.height, dtype=np.int64)
        else:
            (number, is_known), tag = self._numbers(frame), _tags(frame, _NAMED if key else _CONTENT)
        traits = self._traits(frame["conditions"]).astype(np.uint32)
        is_withdrawn = withdrawn(frame["correction"])
        if not is_withdrawn.size:
            is_withdrawn = np.zeros(frame.height, dtype=np.bool_)
        values = (flat(frame["price"]), flat(frame["size"]), traits, is_withdrawn, tag)
        return (*self._place(frame, number), *values), is_known

    def quotes(self, frame: pl.DataFrame) -> tuple[Columns, Array]:
        """`STREAM_QUOTES` rows as `QUOTE_COLUMNS`, and whether each has an identity."""
        number, is_known = self._numbers(frame)
        values = tuple(flat(frame[name]) for name in ("bid_price", "ask_price", "bid_size", "ask_size"))
        return (*self._place(frame, number), *values), is_known

    def _place(self, frame: pl.DataFrame, number: Array) -> Columns:
        codes = self.symbols.codes(frame["symbol"])
        return codes, flat(frame["time"]), number, np.zeros(frame.height, dtype=np.bool_)

    def _traits_of(self, conditions: pl.Series) -> Array:
        return trade_traits(conditions, self._session, STOCK_UPDATE_RULES)[flat(conditions)]

    def _numbers(self, frame: pl.DataFrame) -> tuple[Array, Array]:
        sequence = flat(frame["sequence_number"], null=0)
        is_known = sequence > 0
        if is_known.all():
            return sequence, is_known
        return np.where(is_known, sequence, self._arrival_numbers(frame.height)), is_known

    def _numbers_by_id(self, frame: pl.DataFrame) -> tuple[Array, Array]:
        """Numbers that sort trades of one instant by exchange and id, as the lake does; ids that are no number by hash."""
        text = frame["id"]
        is_known = frame.select(pl.sql_expr(HAS_ID)).to_series().to_numpy()
        digits = text.str.len_chars().fill_null(0)
        value = text.cast(pl.Int64, strict=False)
        is_plain = (digits.is_between(1, _DIGITS) & value.is_not_null() & text.str.contains(r"^\d+$")).to_numpy()
        length = digits.to_numpy().astype(np.int64)
        padded = value.fill_null(0).to_numpy() * 10 ** np.clip(_DIGITS - length, 0, _DIGITS)
        exchange = flat(frame["exchange"]).astype(np.int64)
        packed = exchange << _EXCHANGE_SHIFT | padded << 4 | length
        hashed = frame.select(pl.struct("exchange", "id").hash()).to_series().to_numpy().astype(np.int64)
        number = np.where(is_plain, packed, hashed)
        return np.where(is_known, number, self._arrival_numbers(frame.height)), is_known

    def _arrival_numbers(self, count: int) -> Array:
        self._count += count
        return np.arange(self._count - count, self._count, dtype=np.int64) + _UNNUMBERED


def _tags(frame: pl.DataFrame, columns: Sequence[str]) -> Array:
    """Numbers that tell trades of one sequence number apart; equal trades of one frame are separate where no id is stated."""
    tags = frame.select(pl.struct(columns).hash().reinterpret(signed=True)).to_series()
    if columns == _CONTENT and frame["sequence_number"].is_duplicated().any():
        numbered = frame.select("symbol", "sequence_number", tags.alias("tag"))
        tags += numbered.select(pl.int_range(pl.len()).over("symbol", "sequence_number", "tag")).to_series()
    return flat(tags)
