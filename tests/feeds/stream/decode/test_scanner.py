"""The compiled scanner of stream frames gives the same result as the careful reader."""

import json
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapewatch.feeds.kernels.pointers import pointer_to
from tapewatch.feeds.stream.decode import messages as sm
from tapewatch.feeds.stream.decode.decoder import Frame, FrameDecoder, StreamBatch
from tapewatch.feeds.stream.decode.tokens import skip_any
from tapewatch.market.instruments import Market
from tapewatch.market.tables.stream import STREAMED
from tests.support.stream_events import EVENTS

_NOW = 1_795_000_000_000_000_000
_ODD_NUMBERS = [
    "-1",
    "-0",
    "-0.0",
    "-37.63",
    "--1",
    "-",
    "0",
    "0.0",
    "1e3",
    "01",
    "1.",
    ".5",
    "1e400",
    "9007199254740993",
    "1" * 40,
]
_ODD_TEXTS = ['""', '"a"', '"-5.25"', '"-0"', '"5"', '"05"', '"1e2"', '"5.25"', '"nan"', '"\\u0041"', '"é"']
_ODD_VALUES = ["null", "true", "[]", "{}", "[1,2]", "[1, 2]", "[01]", "[,1]", "[-1]"]
_ODD = st.sampled_from([*_ODD_NUMBERS, *_ODD_TEXTS, *_ODD_VALUES])
_SPACES = st.sampled_from(["", "", "", " ", "\n", "\t ", "\r"])
_AMOUNTS = st.one_of(
    st.integers(0, 10**9).map(str),
    st.floats(0, 1e12).map(repr),
    st.decimals(0, 10**6, places=8, allow_nan=False).map(str),
)
_PRICES = st.one_of(
    st.floats(-1e6, 1e6).map(repr), st.decimals(-100, 100, places=2, allow_nan=False).map(str), st.just("0")
)
_PRICED = ("p", "bp", "ap", "a", "b", "o", "h", "l", "c", "vw", "dv", "op")
_TIMES = st.one_of(
    st.integers(600_000_000, 4_200_000_000).map(str),
    st.integers(1_700_000_000_000, 1_700_000_100_000).map(str),
    st.integers(1_700_000_000_000_000, 1_700_000_100_000_000).map(str),
    st.integers(1_700_000_000_000_000_000, 1_700_000_100_000_000_000).map(str),
    st.integers(0, 2**64).map(str),
)


def _values(name: str, usual: Any) -> st.SearchStrategy[str]:
    """Texts of a field: mostly of its own kind, sometimes of another."""
    if name in ("t", "s", "e", "r", "bt", "at", "trft") and isinstance(usual, int) and usual > 10**8:
        own: st.SearchStrategy[str] = _TIMES
    elif isinstance(usual, str) and usual.replace(".", "").isdigit():
        own = _AMOUNTS.map(json.dumps) | st.just(json.dumps(usual))
    elif name in _PRICED and isinstance(usual, int | float):
        own = _AMOUNTS | _PRICES
    elif isinstance(usual, int | float) and not isinstance(usual, bool):
        own = _AMOUNTS | st.just(json.dumps(usual))
    else:
        own = st.just(json.dumps(usual))
    return st.one_of(st.just(json.dumps(usual)), st.just(json.dumps(usual)), own, own, _ODD)


@st.composite
def _event(draw: st.DrawFn, market: Market) -> str:
    usual = draw(st.sampled_from(EVENTS[market]))
    names = [name for name in usual if name != "ev" and (draw(st.integers(0, 15)) or name == "ev")]
    if draw(st.integers(0, 7)) == 0:
        names = draw(st.permutations(names))
    members = [
        (name, draw(_values(name, usual[name])) if not draw(st.integers(0, 3)) else json.dumps(usual[name]))
        for name in names
    ]
    if not draw(st.integers(0, 15)):
        members.append((draw(st.sampled_from(["zz", "new", "longer_than_eight", "p", "ev", "é"])), draw(_ODD)))
    spaced = [
        f'{draw(_SPACES)}"{name}"{draw(_SPACES)}:{draw(_SPACES)}{value}{draw(_SPACES)}' for name, value in members
    ]
    return "{" + ",".join([f'"ev":"{usual["ev"]}"', *spaced]) + "}"


@st.composite
def _frame(draw: st.DrawFn, market: Market) -> bytes:
    events = draw(st.lists(_event(market), max_size=4))
    text = bytearray((draw(_SPACES) + "[" + f",{draw(_SPACES)}".join(events) + "]" + draw(_SPACES)).encode())
    for _ in range(draw(st.integers(0, 2)) if not draw(st.integers(0, 2)) else 0):
        place = draw(st.integers(0, len(text) - 1)) if text else 0
        what = draw(st.sampled_from(["cut", "drop", "put", "change"]))
        if what == "cut":
            del text[place:]
        elif what == "drop":
            del text[place : place + 1]
        elif what == "put":
            text.insert(place, draw(st.sampled_from(b'"\\[]{},:0-9.eE \x00\n\xff')))
        elif text:
            text[place] = draw(st.integers(0, 255))
    return bytes(text)


def _contents(batch: StreamBatch) -> dict[str, Any]:
    tables = {"trades": batch.trades, "quotes": batch.quotes, "bars": batch.bars, **batch.others}
    rows = {name: frame.cast({pl.Categorical: pl.String}).rows() for name, frame in tables.items() if frame.height}
    said = {name: value for name, value in vars(batch).items() if not isinstance(value, pl.DataFrame | dict)}
    counted = {"unknown_events": batch.unknown_events, "unknown_fields": batch.unknown_fields}
    return {**rows, **said, **counted, "refused": batch.refused.rows()}


def _compact(events: list[dict[str, Any]]) -> bytes:
    """A frame in the vendor's form, without spaces; the scanner allows them except in lists."""
    return json.dumps(events, separators=(",", ":")).encode()


def _teach(market: Market) -> list[Frame]:
    return [Frame(_compact([event]), _NOW) for event in EVENTS[market]]


@pytest.mark.long
@pytest.mark.parametrize("market", list(Market))
def test_scanner_and_careful_reader_agree_on_any_frames(market: Market) -> None:
    @settings(max_examples=50, deadline=None)
    @given(st.lists(_frame(market), min_size=1, max_size=6))
    def hold(texts: list[bytes]) -> None:
        frames = [Frame(text, _NOW + number) for number, text in enumerate(texts)]
        quick, careful = FrameDecoder(market), FrameDecoder(market, is_scanning=False)
        # The decoder collects symbols and fields in the first round and uses them in the second.
        for batch in (_teach(market), frames, frames):
            found, expected = quick.decode(batch), careful.decode(batch)
            assert _contents(found) == _contents(expected)
        for table in STREAMED:
            frame = {"stream_trades": found.trades, "stream_quotes": found.quotes, "stream_bars": found.bars}.get(
                table.name, found.others.get(table.name)
            )
            if frame is not None:
                table.check(frame, market)

    hold()


_BELOW_ZERO: list[tuple[str, dict[str, Any]]] = [
    ("T", {"p": -37.63}),
    ("T", {"p": 0}),
    ("Q", {"bp": -37.65, "ap": -37.6}),
    ("Q", {"bp": -0.01, "ap": 0}),
    ("A", {"o": -36.0, "h": -35.5, "l": -38.25, "c": -37.63, "vw": -37.0, "op": -1.5}),
    ("A", {"o": 0.02, "h": 0.02, "l": -0.03, "c": 0.0, "v": 4, "dv": -0.04}),
    ("AM", {"o": -36.0, "h": -35.5, "l": -38.25, "c": -37.63, "v": 4, "dv": "-148.4"}),
]


@pytest.mark.parametrize(("channel", "values"), _BELOW_ZERO)
def test_prices_of_futures_below_zero_are_scanned(channel: str, values: dict[str, Any]) -> None:
    below = next(event for event in EVENTS[Market.FUTURES] if event["ev"] == channel) | values
    decoder, careful = FrameDecoder(Market.FUTURES), FrameDecoder(Market.FUTURES, is_scanning=False)
    for each in (decoder, careful):
        each.decode(_teach(Market.FUTURES))
    before = decoder.careful_frames
    frames = [Frame(_compact([below]), _NOW)]
    found = decoder.decode(frames)
    assert decoder.careful_frames == before
    assert _contents(found) == _contents(careful.decode(frames))
    assert found.refused.height == 0
    assert channel != "AM" or found.bars["vwap"].to_list() == [-37.1]


@pytest.mark.parametrize("market", [Market.STOCKS, Market.OPTIONS])
@pytest.mark.parametrize("price", [0, -37.63])
def test_other_markets_refuse_prices_below_zero(market: Market, price: float) -> None:
    trade = next(event for event in EVENTS[market] if event["ev"] == "T") | {"p": price}
    for is_scanning in (True, False):
        decoder = FrameDecoder(market, is_scanning=is_scanning)
        decoder.decode(_teach(market))
        refused = decoder.decode([Frame(_compact([trade]), _NOW)]).refused
        assert refused["reason"].to_list() == [f"p: {float(price)} is no finite number above zero"]


@pytest.mark.parametrize("market", list(Market))
def test_every_plain_event_of_the_hot_channels_is_scanned(market: Market) -> None:
    rare = {sm.tag_of(event) for event in (sm.PriceBand, sm.Imbalance, sm.CryptoBook, sm.StatusEvent)}
    hot = [event for event in EVENTS[market] if event["ev"] not in rare]
    decoder = FrameDecoder(market)
    decoder.decode(_teach(market))
    before = decoder.careful_frames
    frames = [Frame(_compact([event]), _NOW) for event in hot]
    assert decoder.decode(frames).events == len(frames)
    assert decoder.careful_frames == before


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace(b'"p"', b'"\\u0070"'),
        lambda text: text.replace(b"AAPL", b"A\\u0041PL"),
        lambda text: text[:-1],
        lambda text: text + b"]",
        lambda text: text.replace(b"}]", b"},]"),
    ],
)
def test_frames_that_are_not_plain_go_to_the_careful_reader(spoil: Callable[[bytes], bytes]) -> None:
    decoder = FrameDecoder(Market.STOCKS)
    text = _compact([EVENTS[Market.STOCKS][0]])
    decoder.decode([Frame(text, _NOW)])
    decoder.decode([Frame(text, _NOW), Frame(spoil(text), _NOW), Frame(text, _NOW)])
    assert (decoder.quick_frames, decoder.careful_frames) == (2, 2)


def test_refused_events_stay_in_the_order_of_the_frame() -> None:
    text = b'[{"ev":"LULD","T":"MSFT","t":1601541600000000,"zz":-1},{"ev":"LULD","zz":-1}]'
    for is_scanning in (True, False):
        refused = FrameDecoder(Market.STOCKS, is_scanning=is_scanning).decode([Frame(text, _NOW)]).refused
        assert refused["line"].to_list() == [1, 2]


def test_a_new_field_is_read_carefully_once_and_counted_afterwards() -> None:
    decoder = FrameDecoder(Market.STOCKS)
    frame = Frame(_compact([{**EVENTS[Market.STOCKS][0], "venue": [{"a": [1.5, {}]}, None, True]}]), _NOW)
    first, later = decoder.decode([frame]), decoder.decode([frame] * 100)
    assert (first.unknown_fields["T.venue"], later.unknown_fields["T.venue"]) == (1, 100)
    assert (first.refused.height, later.refused.height) == (1, 0)
    assert later.trades.height == 100
    assert decoder.careful_frames == 1


def test_many_symbols_outgrow_the_first_table() -> None:
    symbols = [f"O:SPY{i:06d}C{i:08d}" for i in range(5000)]
    usual = EVENTS[Market.OPTIONS][0]
    frames = [
        Frame(_compact([{**usual, "sym": name} for name in symbols[i : i + 50]]), _NOW)
        for i in range(0, len(symbols), 50)
    ]
    decoder = FrameDecoder(Market.OPTIONS)
    for _ in range(2):
        assert decoder.decode(frames).trades["symbol"].cast(pl.String).to_list() == symbols
    assert (decoder.quick_frames, decoder.careful_frames) == (100, 100)


@numba.njit
def _skip(source: npt.NDArray[np.uint8]) -> int:
    return int(skip_any(pointer_to(source), 0))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(-1e9, 1e9) | st.text("ab {}[],:", max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab{}", max_size=3), inner, max_size=3),
)


@pytest.mark.long
@settings(max_examples=500, deadline=None)
@given(_JSON, st.none() | st.tuples(st.integers(0, 60), st.sampled_from(b'"{}[],:1a ')), st.booleans())
def test_only_valid_values_are_skipped(value: object, change: tuple[int, int] | None, is_spaced: bool) -> None:
    text = bytearray(json.dumps(value, separators=(" , ", " : ") if is_spaced else (",", ":")).encode())
    if change and change[0] < len(text):
        text[change[0]] = change[1]
    end = _skip(np.frombuffer(bytes(text) + bytes(8), np.uint8))
    if end:
        json.loads(text[:end])
        assert change or end == len(text)
