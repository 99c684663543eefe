"""The stream's events as typed structs with the vendor's field names, distinguished by `ev`; unknown fields are errors."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec

from tapewatch.market.instruments import Market

_I64 = Annotated[int, msgspec.Meta(ge=-(2**63) + 1, le=2**63 - 1)]
_I32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
_I16 = Annotated[int, msgspec.Meta(ge=-(2**15), le=2**15 - 1)]
_I8 = Annotated[int, msgspec.Meta(ge=-(2**7), le=2**7 - 1)]
#: Condition and indicator codes: a list in one channel, a bare number in another.
Codes = tuple[_I32, ...] | _I32 | None
#: An amount that some channels send as text, to keep all digits.
Amount = float | str | None


class StreamEvent(msgspec.Struct, tag_field="ev", gc=False, forbid_unknown_fields=True):
    """Any event of a stream. Times (`t`, `s` of bars, `trft`) come in seconds, milli-, micro- or nanoseconds."""


class StatusEvent(StreamEvent, tag="status"):
    """A message of the server about the connection."""

    status: str = ""
    message: str = ""


class Trade(StreamEvent, tag="T"):
    """A trade of a stock, an option or a future; `ds` is the size with its decimals."""

    sym: str
    p: float
    t: _I64
    s: float | None = None
    ds: Amount = None
    x: _I16 | None = None
    i: str | int | None = None
    z: _I8 | None = None
    c: Codes = None
    q: _I64 | None = None
    trfi: _I16 | None = None
    trft: _I64 | None = None


class Quote(StreamEvent, tag="Q"):
    """The best bid and offer of a stock, an option or a future; `bt` and `at` are the futures sides' own times."""

    sym: str
    t: _I64
    bx: _I16 | None = None
    bp: float | None = None
    bs: float | None = None
    ax: _I16 | None = None
    ap: float | None = None
    as_: float | None = msgspec.field(name="as", default=None)
    c: Codes = None
    i: Codes = None
    z: _I8 | None = None
    q: _I64 | None = None
    trfi: _I16 | None = None
    trft: _I64 | None = None
    bt: _I64 | None = None
    at: _I64 | None = None


class SecondBar(StreamEvent, tag="A"):
    """A bar of one second. `v` may be absent (indices); `dv` and `dav` are decimal volumes, in futures the value traded."""

    sym: str
    o: float
    h: float
    l: float  # noqa: E741
    c: float
    s: _I64
    e: _I64 | None = None
    v: float | None = None
    av: float | None = None
    dv: Amount = None
    dav: Amount = None
    op: float | None = None
    vw: float | None = None
    a: float | None = None
    z: float | None = None
    n: _I64 | None = None
    otc: bool | None = None


class MinuteBar(SecondBar, tag="AM"):
    """A bar of one minute, otherwise as `SecondBar`."""


class PairBar(StreamEvent):
    """A bar of a currency pair."""

    pair: str
    o: float
    h: float
    l: float  # noqa: E741
    c: float
    s: _I64
    e: _I64 | None = None
    v: float | None = None
    vw: float | None = None
    z: float | None = None


class CryptoMinuteBar(PairBar, tag="XA"):
    """A crypto bar of one minute."""


class CryptoSecondBar(PairBar, tag="XAS"):
    """A crypto bar of one second."""


class ForexMinuteBar(PairBar, tag="CA"):
    """A forex bar of one minute; volumes are counts of quotes."""


class ForexSecondBar(PairBar, tag="CAS"):
    """A forex bar of one second."""


class CryptoTrade(StreamEvent, tag="XT"):
    """A crypto trade; `r` is when the vendor received it."""

    pair: str
    p: float
    t: _I64
    x: _I16
    s: float | None = None
    ds: Amount = None
    c: Codes = None
    i: str | int | None = None
    r: _I64 | None = None


class CryptoQuote(StreamEvent, tag="XQ"):
    """The best bid and offer of a crypto pair on one exchange."""

    pair: str
    t: _I64
    bp: float | None = None
    bs: float | None = None
    ap: float | None = None
    as_: float | None = msgspec.field(name="as", default=None)
    x: _I16 | None = None
    r: _I64 | None = None


class ForexQuote(StreamEvent, tag="C"):
    """The best bid and offer of a currency pair; `x` is a number or a text."""

    p: str
    t: _I64
    x: _I16 | str | None = None
    a: float | None = None
    b: float | None = None


class CryptoBook(StreamEvent, tag="XL2"):
    """Depth of a crypto pair's book on one exchange; `b` and `a` are lists of [price, size]."""

    pair: str
    t: _I64
    b: tuple[tuple[float, float], ...] = ()
    a: tuple[tuple[float, float], ...] = ()
    x: _I16 | None = None
    r: _I64 | None = None


class PriceBand(StreamEvent, tag="LULD"):
    """Limit up and limit down."""

    T: str
    t: _I64
    h: float | None = None
    l: float | None = None  # noqa: E741
    i: Codes = None
    z: _I8 | None = None
    q: _I64 | None = None


class Imbalance(StreamEvent, tag="NOI"):
    """An order imbalance before an auction; `i` is the symbol's sequence number."""

    T: str
    t: _I64
    at: _I32 | None = None
    a: str | None = None
    i: _I64 | None = None
    x: _I16 | None = None
    o: float | None = None
    p: float | None = None
    b: float | None = None


class IndexValue(StreamEvent, tag="V"):
    """The value of an index."""

    val: float
    T: str
    t: _I64


#: The events of each market's stream.
EVENTS: Final[Mapping[Market, tuple[type[StreamEvent], ...]]] = {
    Market.STOCKS: (StatusEvent, Trade, Quote, SecondBar, MinuteBar, PriceBand, Imbalance),
    Market.OPTIONS: (StatusEvent, Trade, Quote, SecondBar, MinuteBar),
    Market.FUTURES: (StatusEvent, Trade, Quote, SecondBar, MinuteBar),
    Market.INDICES: (StatusEvent, IndexValue, SecondBar, MinuteBar),
    Market.CRYPTO: (StatusEvent, CryptoTrade, CryptoQuote, CryptoMinuteBar, CryptoSecondBar, CryptoBook),
    Market.FOREX: (StatusEvent, ForexQuote, ForexMinuteBar, ForexSecondBar),
}


def union_of(market: Market) -> Any:
    """The union of the known events of the market's stream."""
    first, *others = EVENTS[market]
    kind: Any = first
    for event in others:
        kind = kind | event
    return kind


def tag_of(event: type[StreamEvent]) -> str:
    """The `ev` of a kind of event."""
    return str(event.__struct_config__.tag)


def fields_of(event: type[StreamEvent]) -> frozenset[str]:
    """The vendor's names of an event's fields, including `ev`."""
    return frozenset(event.__struct_encode_fields__) | {"ev"}
