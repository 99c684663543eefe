"""Streamed trades and quotes as columns of the tick buffers: own codes for symbols, a number that tells ticks apart."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from tapewatch.market.arrays import Array, flat, trade_traits, withdrawn
from tapewatch.market.conditions import Updates
from tapewatch.market.copies import identity
from tapewatch.market.instruments import Session
from tapewatch.market.tables import TRADES
from tapewatch.streaming.live.tick_buffer import Columns

# An id of so many digits, padded behind, and their count order as the text does and leave room for the exchange.
_DIGITS, _EXCHANGE_SHIFT = 13, 48
_UNKNOWN = -1
# Traits are a byte.
_UNREAD = 1 << 8


class SymbolCodes:
    """Numbers symbols from 0 in the order in which they are met."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._by_name: dict[str, int] = {}
        self._by_physical = np.full(64, _UNKNOWN, dtype=np.int64)
        # Categories are shared within the process; one that is held keeps its physical code.
        self._held: list[pl.Series] = []

    def codes(self, symbols: pl.Series) -> Array:
        """The code of each row's symbol; unknown symbols get the next ones."""
        physical = flat(symbols)
        highest = int(physical.max())
        if highest >= self._by_physical.size:
            room = np.full(2 * highest + 1 - self._by_physical.size, _UNKNOWN, dtype=np.int64)
            self._by_physical = np.append(self._by_physical, room)
        codes = self._by_physical[physical]
        if codes.min() == _UNKNOWN:
            self._learn(symbols.filter(pl.Series(codes == _UNKNOWN)).unique(maintain_order=True))
            codes = self._by_physical[physical]
        return codes

    def add(self, names: list[str]) -> None:
        """Number symbols that are known by name."""
        for name in names:
            if name not in self._by_name:
                self._by_name[name] = len(self.names)
                self.names.append(name)

    def _learn(self, unknown: pl.Series) -> None:
        names = unknown.cast(pl.String).to_list()
        self.add(names)
        self._held.append(unknown)
        self._by_physical[unknown.to_physical().to_numpy()] = [self._by_name[name] for name in names]


class Arrivals:
    """Turns frames into columns; counts arrivals, since those without a number of their own keep their order."""

    def __init__(self, session: Session, rules: Mapping[int, Updates]) -> None:
        self.symbols = SymbolCodes()
        self._session = session
        self._held: list[pl.Series] = []
        self._rules = rules
        self._count = 0
        self._traits = np.full(64, _UNREAD, dtype=np.uint32)

    def trades(self, frame: pl.DataFrame) -> tuple[Columns, Array]:
        """`STREAM_TRADES` rows as `TRADE_COLUMNS`, and which of them have an identity."""
        if "id" in identity(TRADES, self._session.market):
            number, is_known = self._numbers_by_id(frame)
        else:
            number, is_known = self._numbers(frame)
        traits = self._traits_of(frame["conditions"])
        is_withdrawn = withdrawn(frame["correction"])
        if not is_withdrawn.size:
            is_withdrawn = np.zeros(frame.height, dtype=np.bool_)
        values = (flat(frame["price"]), flat(frame["size"]), traits, is_withdrawn)
        return (*self._place(frame, number), *values), is_known

    def quotes(self, frame: pl.DataFrame) -> tuple[Columns, Array]:
        """`STREAM_QUOTES` rows as `QUOTE_COLUMNS`, and which of them have an identity."""
        number, is_known = self._numbers(frame)
        values = tuple(flat(frame[name]) for name in ("bid_price", "ask_price", "bid_size", "ask_size"))
        return (*self._place(frame, number), *values), is_known

    def _place(self, frame: pl.DataFrame, number: Array) -> Columns:
        codes = self.symbols.codes(frame["symbol"])
        return codes, flat(frame["time"]), number, np.zeros(frame.height, dtype=np.bool_)

    def _traits_of(self, conditions: pl.Series) -> Array:
        """Each row's traits; those of condition lists met for the first time are read once."""
        physical = flat(conditions)
        highest = int(physical.max())
        if highest >= self._traits.size:
            self._traits = np.append(self._traits, np.full(2 * highest, _UNREAD, dtype=np.uint32))
        traits = self._traits[physical]
        if traits.max() == _UNREAD:
            unread = conditions.filter(pl.Series(traits == _UNREAD)).unique()
            read, codes = trade_traits(unread, self._session, self._rules), flat(unread)
            self._traits[codes] = read[codes]
            self._held.append(unread)
            traits = self._traits[physical]
        return traits

    def _numbers(self, frame: pl.DataFrame) -> tuple[Array, Array]:
        sequence = frame["sequence_number"]
        if not sequence.null_count():
            return flat(sequence), np.ones(frame.height, dtype=np.bool_)
        is_known = sequence.is_not_null().to_numpy()
        return np.where(is_known, flat(sequence, null=0), self._arrival_numbers(frame.height)), is_known

    def _numbers_by_id(self, frame: pl.DataFrame) -> tuple[Array, Array]:
        """Numbers that order trades of one instant by exchange and id, as the lake does; other texts by their hash."""
        text = frame["id"]
        is_known = text.is_not_null().to_numpy()
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
        return np.arange(self._count - count, self._count, dtype=np.int64)
