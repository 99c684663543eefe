"""Reads frames event by event: valid events become rows, the others are refused with the reason."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from tapewatch.feeds.stream.decode import messages as sm
from tapewatch.feeds.stream.decode.findings import Findings, StatusNote
from tapewatch.feeds.stream.decode.rows import BAR, NULL_INT, QUOTE, TRADE, VALUE, RowRoom
from tapewatch.feeds.stream.decode.times import to_ns
from tapewatch.feeds.stream.decode.words import WordTable
from tapewatch.market.instruments import Market
from tapewatch.market.prices import is_price, is_side, price_rule
from tapewatch.market.tables.stream import AUCTION_IMBALANCES, ORDER_BOOK, PRICE_BANDS

_SECOND, _MINUTE = 0, 1
_HOT = (sm.Trade, sm.CryptoTrade, sm.Quote, sm.CryptoQuote, sm.ForexQuote, sm.SecondBar, sm.PairBar, sm.IndexValue)
_LARGEST: Final = 1.7976931348623157e308
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _ImpossibleError(ValueError):
    """An event that is well-formed and has an impossible value."""


class CarefulReader:
    """Reads one market's frames into a `RowRoom` by way of msgspec structs."""

    def __init__(self, market: Market, symbols: WordTable, codes: WordTable) -> None:
        self.market, self._symbols, self._codes = market, symbols, codes
        union = sm.union_of(market)
        self._whole: msgspec.json.Decoder[list[sm.StreamEvent]] = msgspec.json.Decoder(list.__class_getitem__(union))
        self._single: msgspec.json.Decoder[sm.StreamEvent] = msgspec.json.Decoder(union)
        self._parts = msgspec.json.Decoder(list[msgspec.Raw])
        self._fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
        self._text = msgspec.json.Decoder(str)
        self._known = {sm.tag_of(event): sm.fields_of(event) for event in sm.EVENTS[market]}
        self._shown_fields: set[str] = set()
        bar, pair_bar = self._bar, self._pair_bar
        self._readers: Mapping[type[sm.StreamEvent], Callable[[Any, int, RowRoom, Findings], None]] = {
            sm.StatusEvent: _status,
            sm.Trade: self._trade,
            sm.CryptoTrade: self._trade,
            sm.Quote: self._quote,
            sm.CryptoQuote: self._quote,
            sm.ForexQuote: self._forex_quote,
            sm.SecondBar: lambda *a: bar(_SECOND, *a),
            sm.MinuteBar: lambda *a: bar(_MINUTE, *a),
            sm.CryptoSecondBar: lambda *a: pair_bar(_SECOND, *a),
            sm.CryptoMinuteBar: lambda *a: pair_bar(_MINUTE, *a),
            sm.ForexSecondBar: lambda *a: pair_bar(_SECOND, *a),
            sm.ForexMinuteBar: lambda *a: pair_bar(_MINUTE, *a),
            sm.IndexValue: self._value,
            sm.PriceBand: self._band,
            sm.Imbalance: self._imbalance,
            sm.CryptoBook: self._book,
        }

    def read(self, data: bytes, received_ns: int, room: RowRoom, found: Findings) -> None:
        """Read one frame. Unreadable events go to `found.refused`, and so does the whole frame if it is not a JSON array."""
        try:
            events = self._whole.decode(data)
        except _UNREADABLE:
            self._read_in_parts(data, received_ns, room, found)
        else:
            for line, event in enumerate(events, 1):
                self._take(event, line, data, received_ns, room, found)
        room.settle()

    def read_rare(self, parts: Sequence[tuple[int, bytes]], received_ns: int, room: RowRoom, found: Findings) -> bool:
        """Read the events of a frame that the scanner skipped; `parts` holds their place in the frame and text.

        Returns False, and adds nothing to `found`, if one of them is not valid JSON or is an event that the scanner should
        have read: then the whole frame must be read with `read`.
        """
        try:
            self._parts.decode(b"[" + b",".join(raw for _, raw in parts) + b"]")
        except _UNREADABLE:
            return False
        # Findings are kept per event, so that they stay in the order of the frame.
        noted = [(line, raw, Findings(found.source)) for line, raw in parts]
        events = [(*note, *self._event(note[1], note[0], received_ns, note[2])) for note in noted]
        if any(isinstance(event, _HOT) for *_, event, _ in events):
            return False
        for line, raw, own, event, unknown in events:
            found.add(own)
            if event is not None and self._take(event, line, raw, received_ns, room, found):
                self._keep_copy(unknown, line, received_ns, raw, found)
        return True

    def _read_in_parts(self, data: bytes, received_ns: int, room: RowRoom, found: Findings) -> None:
        try:
            parts = [bytes(part) for part in self._parts.decode(data)]
        except _UNREADABLE as error:
            if self._is_object(data):
                parts = [data]
            else:
                found.malformed_frames.append(received_ns)
                found.refuse(received_ns, 0, f"the frame is not a JSON array: {error}", data)
                return
        for line, raw in enumerate(parts, 1):
            event, unknown = self._event(raw, line, received_ns, found)
            if event is not None and self._take(event, line, data, received_ns, room, found):
                self._keep_copy(unknown, line, received_ns, raw, found)

    def _is_object(self, data: bytes) -> bool:
        try:
            self._fields.decode(data)
        except _UNREADABLE:
            return False
        return True

    def _event(
        self, raw: bytes, line: int, received_ns: int, found: Findings
    ) -> tuple[sm.StreamEvent | None, list[str]]:
        """The event in `raw`, None if it was refused, and the names of its unknown fields."""
        try:
            return self._single.decode(raw), []
        except _UNREADABLE as error:
            reason = str(error)
        try:
            fields = self._fields.decode(raw)
            tag = self._text.decode(fields["ev"]) if "ev" in fields else ""
            known = self._known.get(tag)
            if known is None:
                found.unknown_events[tag] += 1
                reason = f"ev: {tag!r} is not a known event of the {self.market} stream"
            else:
                unknown = [f"{tag}.{name}" for name in fields if name not in known]
                event = self._single.decode(msgspec.json.encode({k: v for k, v in fields.items() if k in known}))
                found.unknown_fields.update(unknown)
                return event, unknown
        except _UNREADABLE as error:
            reason = str(error)
        found.events += 1
        found.refuse(received_ns, line, reason, raw)
        return None, []

    def _keep_copy(self, unknown: list[str], line: int, received_ns: int, raw: bytes, found: Findings) -> None:
        """Keep the first event with an unknown field as a sample."""
        new = [name for name in unknown if name not in self._shown_fields]
        if new:
            self._shown_fields.update(new)
            reason = f"{', '.join(new)}: unknown; the event was read without, and this sample is kept once"
            found.refuse(received_ns, line, reason, raw)

    def _take(
        self, event: sm.StreamEvent, line: int, data: bytes, received_ns: int, room: RowRoom, found: Findings
    ) -> bool:
        found.events += not isinstance(event, sm.StatusEvent)
        try:
            self._readers[type(event)](event, received_ns, room, found)
        except ValueError as error:
            raw = data if self._is_object(data) else bytes(self._parts.decode(data)[line - 1])
            found.refuse(received_ns, line, str(error), raw)
            return False
        return True

    def _trade(self, event: sm.Trade | sm.CryptoTrade, received_ns: int, room: RowRoom, _found: Findings) -> None:
        if event.x is None and self.market is not Market.FUTURES:
            raise _ImpossibleError("x: the trade names no exchange")
        if event.s is None and event.ds is None:
            raise _ImpossibleError("s: the trade has no size")
        size = _from_zero("s", event.s or 0.0) if event.ds is None else _amount("ds", event.ds)
        if isinstance(event, sm.CryptoTrade):
            symbol, number, facility = event.pair, NULL_INT, (NULL_INT, NULL_INT, NULL_INT)
        else:
            symbol, number = event.sym, _or_null(event.q)
            facility = _or_null(event.trfi), _optional_time("trft", event.trft), _or_null(event.z)
        price, time = self._price("p", event.p), _time("t", event.t)
        head = self._symbols.code(symbol), time, received_ns, number
        ints = (*head, event.x or 0, self._codes.code(_spelt(event.c)), *facility)
        room.append(TRADE, ints, (price, size), b"" if event.i is None else str(event.i).encode())

    def _quote(self, event: sm.Quote | sm.CryptoQuote, received_ns: int, room: RowRoom, _found: Findings) -> None:
        prices = self._side("bp", event.bp), self._side("ap", event.ap)
        sizes = _size("bs", event.bs), _size("as", event.as_)
        if isinstance(event, sm.CryptoQuote):
            exchange, regular, symbol = _or_null(event.x), self._codes.code(""), event.pair
            numbers = (NULL_INT, exchange, exchange, regular, regular, NULL_INT, NULL_INT)
        else:
            symbol = event.sym
            numbers = (
                _or_null(event.q),
                _or_null(event.bx),
                _or_null(event.ax),
                self._codes.code(_spelt(event.c)),
                self._codes.code(_spelt(event.i)),
                _optional_time("trft", event.trft),
                _or_null(event.z),
            )
        ints = (self._symbols.code(symbol), _time("t", event.t), received_ns, *numbers)
        room.append(QUOTE, ints, (*prices, *sizes))

    def _forex_quote(self, event: sm.ForexQuote, received_ns: int, room: RowRoom, _found: Findings) -> None:
        exchange, regular = _exchange(event.x), self._codes.code("")
        head = self._symbols.code(event.p), _time("t", event.t), received_ns
        prices = self._side("b", event.b), self._side("a", event.a)
        ints = (*head, NULL_INT, exchange, exchange, regular, regular, NULL_INT, NULL_INT)
        room.append(QUOTE, ints, (*prices, math.nan, math.nan))

    def _bar(self, clock: int, event: sm.SecondBar, received_ns: int, room: RowRoom, _found: Findings) -> None:
        volume, day_volume, vwap = event.v or 0.0, event.av, event.vw
        if self.market is Market.FUTURES:
            value = None if event.dv is None else _traded_value("dv", event.dv)
            vwap = _value_per_unit(value, volume, event) if vwap is None else vwap
        else:
            volume = volume if event.dv is None else _amount("dv", event.dv)
            day_volume = day_volume if event.dav is None else _amount("dav", event.dav)
        tail = (self._mean("vw", vwap), _size("z", event.z), _size("av", day_volume))
        transactions = NULL_INT if event.n is None else int(_from_zero("n", event.n))
        head = (self._symbols.code(event.sym), _time("s", event.s), received_ns, clock, transactions)
        room.append(BAR, head, (*self._prices(event), _from_zero("v", volume), *tail))

    def _pair_bar(self, clock: int, event: sm.PairBar, received_ns: int, room: RowRoom, _found: Findings) -> None:
        tail = (self._mean("vw", event.vw), _size("z", event.z), math.nan)
        head = (self._symbols.code(event.pair), _time("s", event.s), received_ns, clock, NULL_INT)
        room.append(BAR, head, (*self._prices(event), _from_zero("v", event.v or 0.0), *tail))

    def _prices(self, event: sm.SecondBar | sm.PairBar) -> tuple[float, float, float, float]:
        for name in "ohlc":
            self._price(name, getattr(event, name))
        if event.h < max(event.o, event.l, event.c):
            raise _ImpossibleError(f"h: {event.h} lies below another price of the bar")
        if event.l > min(event.o, event.h, event.c):
            raise _ImpossibleError(f"l: {event.l} lies above another price of the bar")
        return event.o, event.h, event.l, event.c

    def _price(self, name: str, value: float) -> float:
        if not is_price(value, self.market):
            raise _ImpossibleError(f"{name}: {value} is no {price_rule(self.market)}")
        return value

    def _side(self, name: str, value: float | None) -> float:
        """The price of a side, 0 for an empty one."""
        if not value:
            return 0.0
        if not is_side(value, self.market):
            raise _ImpossibleError(f"{name}: {value} is no {price_rule(self.market, may_be_empty=True)}")
        return value

    def _mean(self, name: str, value: float | None) -> float:
        """A mean price, which is 0 if nothing was traded."""
        return math.nan if value is None else self._side(name, value)

    def _value(self, event: sm.IndexValue, received_ns: int, room: RowRoom, _found: Findings) -> None:
        room.append(VALUE, (self._symbols.code(event.T), _time("t", event.t), received_ns), (event.val,))

    def _symbol(self, spelling: str) -> str:
        code = self._symbols.code(spelling)
        return str(self._symbols.words()[code])

    def _band(self, event: sm.PriceBand, received_ns: int, _room: RowRoom, found: Findings) -> None:
        prices = (None if p is None else _from_zero(n, p) for n, p in (("h", event.h), ("l", event.l)))
        row = (self._symbol(event.T), _time("t", event.t), *prices, _spelt(event.i), event.z, event.q, received_ns)
        found.others.setdefault(PRICE_BANDS.name, []).append(row)

    def _imbalance(self, event: sm.Imbalance, received_ns: int, _room: RowRoom, found: Findings) -> None:
        head = (self._symbol(event.T), _time("t", event.t), event.at, event.a, event.i, event.x)
        found.others.setdefault(AUCTION_IMBALANCES.name, []).append((*head, event.o, event.p, event.b, received_ns))

    def _book(self, event: sm.CryptoBook, received_ns: int, _room: RowRoom, found: Findings) -> None:
        sides = (msgspec.json.encode(side).decode() for side in (event.b, event.a))
        row = (self._symbol(event.pair), _time("t", event.t), event.x, *sides, received_ns)
        found.others.setdefault(ORDER_BOOK.name, []).append(row)


def _status(event: sm.StatusEvent, received_ns: int, _room: RowRoom, found: Findings) -> None:
    found.statuses.append(StatusNote(event.status, event.message, received_ns))


def _or_null(value: int | None) -> int:
    return NULL_INT if value is None else value


def _time(name: str, value: int) -> int:
    ns = to_ns(value)
    if ns is None:
        raise _ImpossibleError(f"{name}: {value} is not a time from 1990 to 2099 in s, ms, µs or ns")
    return ns


def _optional_time(name: str, value: int | None) -> int:
    return _time(name, value) if value else NULL_INT


def _from_zero(name: str, value: float) -> float:
    if not 0 <= value <= _LARGEST:
        raise _ImpossibleError(f"{name}: {value} is no finite number from zero up")
    return value


def _size(name: str, value: float | None) -> float:
    return math.nan if value is None else _from_zero(name, value)


def _amount(name: str, value: float | str) -> float:
    try:
        return _from_zero(name, float(value))
    except ValueError:
        raise _ImpossibleError(f"{name}: {value!r} is no finite number from zero up") from None


def _traded_value(name: str, value: float | str) -> float:
    """The traded value of a future, negative if its price was."""
    try:
        traded = float(value)
    except ValueError:
        traded = math.nan
    if not math.isfinite(traded):
        raise _ImpossibleError(f"{name}: {value!r} is no finite number")
    return traded


def _exchange(value: int | str | None) -> int:
    if value is None or value == "":
        return NULL_INT
    try:
        number = int(value)
    except ValueError:
        raise _ImpossibleError(f"x: {value!r} is no exchange id") from None
    if not 0 <= number < 2**15:
        raise _ImpossibleError(f"x: {value!r} is no exchange id")
    return number


def _spelt(codes: tuple[int, ...] | int | None) -> str:
    if codes is None:
        return ""
    return str(codes) if isinstance(codes, int) else ",".join(map(str, codes))


def _value_per_unit(value: float | None, volume: float, event: sm.SecondBar) -> float | None:
    """The mean price implied by a bar's traded value; None if that is in other units than the prices."""
    if value is None or volume <= 0 or not event.l <= value / volume <= event.h:
        return None
    return value / volume
