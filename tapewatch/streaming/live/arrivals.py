"""Streamed trades and quotes as columns of the tick buffers, with codes for symbols and a number that identifies ticks."""

import numpy as np
import polars as pl

from tapewatch.market.arrays import Array, flat, trade_traits, withdrawn
from tapewatch.market.conditions import STOCK_UPDATE_RULES
from tapewatch.market.copies import identity
from tapewatch.market.instruments import Session
from tapewatch.market.tables import TRADES
from tapewatch.streaming.live.tick_buffer import Columns

# Digits of an id, padded on the right, and their count sort as the text does and leave room for the exchange.
_DIGITS, _EXCHANGE_SHIFT = 13, 48
_UNKNOWN = -1
# Traits are a byte.
_UNREAD = 1 << 8


class SymbolCodes:
    """Numbers symbols from 0 in order of appearance."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._by_name: dict[str, int] = {}
        self._by_physical = np.full(64, _UNKNOWN, dtype=np.int64)
        # Categories are shared within the process; a series that is held keeps their physical codes.
        self._held: list[pl.Series] = []

    def codes(self, symbols: pl.Series) -> Array:
        """The code of each row's symbol; new symbols get the next codes."""
        physical = flat(symbols)
        highest = int(physical.max())
        if highest >= self._by_physical.size:
            room = np.full(2 * highest + 1 - self._by_physical.size, _UNKNOWN, dtype=np.int64)
            self._by_physical = np.append(self._by_physical, room)
        codes = self._by_physical[physical]
        if codes.min() == _UNKNOWN:
            self._add_new(symbols.filter(pl.Series(codes == _UNKNOWN)).unique(maintain_order=True))
            codes = self._by_physical[physical]
        return codes

    def add(self, names: list[str]) -> None:
        """Number symbols by name."""
        for name in names:
            if name not in self._by_name:
                self._by_name[name] = len(self.names)
                self.names.append(name)

    def _add_new(self, unknown: pl.Series) -> None:
        names = unknown.cast(pl.String).to_list()
        self.add(names)
        self._held.append(unknown)
        self._by_physical[unknown.to_physical().to_numpy()] = [self._by_name[name] for name in names]


class Arrivals:
    """Turns frames into columns; numbers ticks without an identity by arrival, to keep their order."""

    def __init__(self, session: Session) -> None:
        self.symbols = SymbolCodes()
        self._session = session
        self._held: list[pl.Series] = []
        self._count = 0
        self._traits = np.full(64, _UNREAD, dtype=np.uint32)

    def trades(self, frame: pl.DataFrame) -> tuple[Columns, Array]:
        """`STREAM_TRADES` rows as `TRADE_COLUMNS`, and whether each has an identity (see `market.copies`)."""
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
        """`STREAM_QUOTES` rows as `QUOTE_COLUMNS`, and whether each has an identity."""
        number, is_known = self._numbers(frame)
        values = tuple(flat(frame[name]) for name in ("bid_price", "ask_price", "bid_size", "ask_size"))
        return (*self._place(frame, number), *values), is_known

    def _place(self, frame: pl.DataFrame, number: Array) -> Columns:
        codes = self.symbols.codes(frame["symbol"])
        return codes, flat(frame["time"]), number, np.zeros(frame.height, dtype=np.bool_)

    def _traits_of(self, conditions: pl.Series) -> Array:
        """Each row's traits; every condition list is read once."""
        physical = flat(conditions)
        highest = int(physical.max())
        if highest >= self._traits.size:
            self._traits = np.append(self._traits, np.full(2 * highest, _UNREAD, dtype=np.uint32))
        traits = self._traits[physical]
        if traits.max() == _UNREAD:
            unread = conditions.filter(pl.Series(traits == _UNREAD)).unique()
            read, codes = trade_traits(unread, self._session, STOCK_UPDATE_RULES), flat(unread)
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
        """Numbers that sort trades of one instant by exchange and id, as the lake does; ids that are no number by hash."""
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
