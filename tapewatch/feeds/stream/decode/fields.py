"""Tables for the compiled scanner: how it reads each field of each market's events, and into which column.

The tests compare them with the structs and the careful reader, which read all other events and fields.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tapewatch.feeds.stream.decode.rows import BAR, FLOATS, INTS, NULL_INT, QUOTE, TRADE, VALUE
from tapewatch.market.instruments import Market
from tapewatch.market.prices import may_be_negative

#: How a field is read. TIME infers the unit, and TIME_OR_ZERO is null for 0; EXCHANGE is an id, perhaps in quotes, that fills two
#: columns; WORD and CODES look a text up; DECIMAL is an amount, perhaps in quotes, that overrides an AMOUNT of the same column;
#: TRADED is the value of a future's bar; SIGNED is a price that may be zero or negative; SKIP fields are checked and dropped.
#: Those up to LAST_INT are integers.
(
    TIME, TIME_OR_ZERO, INT, EXCHANGE, SKIP_INT, PRICE, AMOUNT, WORD, CODES, TEXT, DECIMAL, TRADED, SKIP_NUMBER,
    SKIP_FLAG, SKIP_ANY, SIGNED,
) = range(16)  # fmt: skip
LAST_INT: Final = SKIP_INT
KEY_BITS: Final = 6
KEY_MIXER: Final = 0x9E3779B97F4A7C15
MAX_KEY_BYTES: Final = 8
#: Unknown fields that a decoder learns to skip; frames with further ones go to the careful reader.
MAX_LEARNT: Final = 16
_MASK: Final = 2**64 - 1
_I8, _I16, _I64 = 2**7 - 1, 2**15 - 1, 2**63 - 1

#: A field: how it is read, its column, and the largest integer allowed.
_Field = tuple[int, str, int]


@dataclass(frozen=True, slots=True)
class _Event:
    """One kind of event: the kind of its rows, its fields, which of them are `required`, of which it must have one
    (`either`), and the values of absent ones."""

    tag: str
    kind: int
    fields: Mapping[str, _Field]
    required: tuple[str, ...]
    either: tuple[str, ...] = ()
    defaults: Mapping[str, float] = field(default_factory=dict)


def _ints(names: Mapping[str, str], limit: int) -> dict[str, _Field]:
    return {name: (INT, column, limit) for name, column in names.items()}


def _amounts(names: Mapping[str, str], how: int = AMOUNT) -> dict[str, _Field]:
    return {name: (how, column, 0) for name, column in names.items()}


_SIZES = {**_amounts({"s": "size"}), **_amounts({"ds": "size"}, DECIMAL)}
_SIDES = _amounts({"bp": "bid_price", "ap": "ask_price", "bs": "bid_size", "as": "ask_size"})
_SIGNED_SIDES = {**_SIDES, **_amounts({"bp": "bid_price", "ap": "ask_price"}, SIGNED)}
_NO_SIDES = {"bid_price": 0.0, "ask_price": 0.0, "conditions": 0, "indicators": 0}
_AT: Final[_Field] = (TIME, "time", 0)
_SKIPPED: Final[_Field] = (SKIP_INT, "", _I64)


def _price(market: Market, plain: int = PRICE) -> int:
    """How a price is read that is `plain` in markets with positive prices only."""
    return SIGNED if may_be_negative(market) else plain


def _trade(market: Market) -> _Event:
    fields = {
        "sym": (WORD, "symbol", 0), "p": (_price(market), "price", 0), "t": _AT, **_SIZES, "x": (INT, "exchange", _I16),
        "i": (TEXT, "", 0), "z": (INT, "tape", _I8), "c": (CODES, "conditions", 0), "q": (INT, "sequence_number", _I64),
        "trfi": (INT, "trf_id", _I16), "trft": (TIME_OR_ZERO, "trf_time", 0),
    }  # fmt: skip
    required = ("sym", "p", "t") if market is Market.FUTURES else ("sym", "p", "t", "x")
    return _Event("T", TRADE, fields, required, ("s", "ds"), {"exchange": 0, "conditions": 0})


def _quote(market: Market) -> _Event:
    fields = {
        "sym": (WORD, "symbol", 0), "t": _AT, **(_SIGNED_SIDES if may_be_negative(market) else _SIDES),
        **_ints({"bx": "bid_exchange", "ax": "ask_exchange"}, _I16), "c": (CODES, "conditions", 0),
        "i": (CODES, "indicators", 0), "z": (INT, "tape", _I8), "q": (INT, "sequence_number", _I64),
        "trfi": (SKIP_INT, "", _I16), "trft": (TIME_OR_ZERO, "trf_time", 0), "bt": _SKIPPED, "at": _SKIPPED,
    }  # fmt: skip
    return _Event("Q", QUOTE, fields, ("sym", "t"), defaults=_NO_SIDES)


_CRYPTO_TRADE = _Event(
    "XT", TRADE,
    {
        "pair": (WORD, "symbol", 0), "p": (PRICE, "price", 0), "t": _AT, **_SIZES, "x": (INT, "exchange", _I16),
        "i": (TEXT, "", 0), "c": (CODES, "conditions", 0), "r": _SKIPPED,
    },
    ("pair", "p", "t", "x"), ("s", "ds"), {"conditions": 0},
)  # fmt: skip
_QUOTED = {"t": _AT, "x": (EXCHANGE, "bid_exchange", _I16)}
_CRYPTO_QUOTE_FIELDS = {"pair": (WORD, "symbol", 0), **_QUOTED, **_SIDES, "r": _SKIPPED}
_CRYPTO_QUOTE = _Event("XQ", QUOTE, _CRYPTO_QUOTE_FIELDS, ("pair", "t"), defaults=_NO_SIDES)
_FOREX_QUOTE_FIELDS = {"p": (WORD, "symbol", 0), **_QUOTED, **_amounts({"a": "ask_price", "b": "bid_price"})}
_FOREX_QUOTE = _Event("C", QUOTE, _FOREX_QUOTE_FIELDS, ("p", "t"), defaults=_NO_SIDES)
_INDEX_VALUE = _Event("V", VALUE, {"T": (WORD, "symbol", 0), "t": _AT, "val": (AMOUNT, "value", 0)}, ("T", "t", "val"))


def _bar(tag: str, clock: int, name: str, market: Market) -> _Event:
    prices = _amounts({"o": "open", "h": "high", "l": "low", "c": "close"}, _price(market))
    fields: dict[str, _Field] = {
        name: (WORD, "symbol", 0), **prices, "s": (TIME, "time", 0), "e": _SKIPPED,
        **_amounts({"v": "volume", "z": "average_size"}), "vw": (_price(market, AMOUNT), "vwap", 0),
    }  # fmt: skip
    if name == "sym":
        fields |= {
            "av": (AMOUNT, "day_volume", 0), "n": (INT, "transactions", _I64), "op": (SKIP_NUMBER, "", 0),
            "a": (SKIP_NUMBER, "", 0), "otc": (SKIP_FLAG, "", 0),
        }  # fmt: skip
        if market is Market.FUTURES:
            fields["dv"] = (TRADED, "", 0)
        else:
            fields |= _amounts({"dv": "volume", "dav": "day_volume"}, DECIMAL)
    return _Event(tag, BAR, fields, (name, "o", "h", "l", "c", "s"), (), {"clock": clock, "volume": 0.0})


def _events(market: Market) -> tuple[_Event, ...]:
    match market:
        case Market.CRYPTO:
            return (_CRYPTO_TRADE, _CRYPTO_QUOTE, _bar("XAS", 0, "pair", market), _bar("XA", 1, "pair", market))
        case Market.FOREX:
            return (_FOREX_QUOTE, _bar("CAS", 0, "pair", market), _bar("CA", 1, "pair", market))
    bars = _bar("A", 0, "sym", market), _bar("AM", 1, "sym", market)
    return (_INDEX_VALUE, *bars) if market is Market.INDICES else (_trade(market), _quote(market), *bars)


def packed(name: str) -> int:
    """A short name as one number, packed as in the scanner."""
    return int.from_bytes(name.encode(), "big")


class FieldTables:
    """The tables of one market. Events are numbered in order; a field's place is found by a hash of its packed name.

    Attributes:
        tags, kinds, required, either: by event; the last two are masks of the fields' bits.
        keys, actions, slots, limits, bits: by event and place; key 0 is a free place.
        int_defaults, float_defaults: by event and slot.
        learnt: how often each learnt field (`learnt_names`) was skipped; `learnt_before` is the same before the last frame.
    """

    def __init__(self, market: Market) -> None:
        events = _events(market)
        places = 2**KEY_BITS
        self.tags = np.array([packed(event.tag) for event in events], np.uint64)
        self.kinds = np.array([event.kind for event in events], np.int64)
        self.required, self.either = np.zeros((2, len(events)), np.int64)
        self.keys = np.zeros((len(events), places), np.uint64)
        self.actions, self.slots, self.limits, self.bits = np.zeros((4, len(events), places), np.int64)
        self.int_defaults = np.full((len(events), max(map(len, INTS))), NULL_INT, np.int64)
        self.float_defaults = np.full((len(events), max(map(len, FLOATS))), np.nan)
        self.learnt = np.zeros(MAX_LEARNT, np.int64)
        self.learnt_before = self.learnt.copy()
        self.learnt_names: list[str] = []
        self._number_of = {event.tag: number for number, event in enumerate(events)}
        self._fields = [0] * len(events)
        for number, event in enumerate(events):
            for name, (action, column, limit) in event.fields.items():
                slot = 0 if not column else _slot(event.kind, column)
                bit = self._enter(number, name, action, slot, limit)
                self.required[number] |= bit if name in event.required else 0
                self.either[number] |= bit if name in event.either else 0
            for column, value in event.defaults.items():
                table = self.int_defaults if column in INTS[event.kind] else self.float_defaults
                table[number, _slot(event.kind, column)] = value

    def tables(self) -> tuple[npt.NDArray[Any], ...]:
        """In the order of the scanner's arguments."""
        return (
            self.tags, self.kinds, self.required, self.either, self.keys, self.actions, self.slots, self.limits, self.bits,
            self.int_defaults, self.float_defaults, self.learnt,
        )  # fmt: skip

    def skipped(self) -> dict[str, int]:
        """How often each learnt field was skipped since the last call."""
        counts = {name: int(count) for name, count in zip(self.learnt_names, self.learnt, strict=False) if count}
        self.learnt[:] = 0
        return counts

    def learn(self, tag: str, name: str) -> None:
        """Skip and count an unknown field from now on; without room for it, it stays unknown."""
        number = self._number_of.get(tag)
        is_plain = name.isascii() and name.isprintable() and 0 < len(name) <= MAX_KEY_BYTES
        if number is None or not is_plain or set(name) & set('"\\') or len(self.learnt_names) == MAX_LEARNT:
            return
        if 4 * self._fields[number] < 3 * 2**KEY_BITS and f"{tag}.{name}" not in self.learnt_names:
            self._enter(number, name, SKIP_ANY, len(self.learnt_names), 0)
            self.learnt_names.append(f"{tag}.{name}")

    def _enter(self, number: int, name: str, action: int, slot: int, limit: int) -> int:
        key = packed(name)
        place = ((key * KEY_MIXER) & _MASK) >> (64 - KEY_BITS)
        while self.keys[number, place]:
            place = (place + 1) % 2**KEY_BITS
        bit = 1 << self._fields[number]
        self.keys[number, place], self.actions[number, place] = key, action
        self.slots[number, place], self.limits[number, place], self.bits[number, place] = slot, limit, bit
        self._fields[number] += 1
        return bit


def _slot(kind: int, column: str) -> int:
    return (INTS if column in INTS[kind] else FLOATS)[kind].index(column)
