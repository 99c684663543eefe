"""Decoding frames: every channel, the oddities of the protocol, and no lost events."""

import datetime as dt
import json
from typing import Any

import polars as pl
import pytest

from tapewatch.feeds.stream.decode.decoder import Frame, FrameDecoder, StreamBatch
from tapewatch.feeds.stream.decode.times import to_ns
from tapewatch.market.instruments import Market
from tapewatch.market.tables.stream import STREAMED
from tests.support.stream_events import EVENTS

_NOW = 1_795_000_000_123_456_789
_BY_TAG = {(market, event["ev"]): event for market, events in EVENTS.items() for event in events}


def _decode(market: Market, *events: object, is_scanning: bool = True) -> StreamBatch:
    decoder = FrameDecoder(market, is_scanning=is_scanning)
    frame = Frame(json.dumps(list(events), separators=(",", ":")).encode(), _NOW)
    # The scanner reads the second with the words from the first.
    decoder.decode([frame])
    return decoder.decode([frame])


def _only(frame: pl.DataFrame) -> dict[str, Any]:
    assert frame.height == 1
    return frame.row(0, named=True)


def _moment(ns: int) -> dt.datetime:
    return pl.Series([ns]).cast(pl.Datetime("ns", "UTC"))[0]


def _table(batch: StreamBatch, name: str) -> pl.DataFrame:
    own = {"stream_trades": batch.trades, "stream_quotes": batch.quotes, "stream_bars": batch.bars}
    return own.get(name, batch.others.get(name, pl.DataFrame()))


@pytest.mark.parametrize("is_scanning", [True, False])
@pytest.mark.parametrize(("market", "tag"), list(_BY_TAG))
def test_every_channel_makes_one_valid_row(market: Market, tag: str, is_scanning: bool) -> None:
    batch = _decode(market, _BY_TAG[market, tag], is_scanning=is_scanning)
    rows = {table.name: _table(batch, table.name) for table in STREAMED if _table(batch, table.name).height}
    assert [frame.height for frame in rows.values()] == [1]
    assert (batch.events, batch.refused.height, batch.unknown_fields.total()) == (1, 0, 0)
    for table in STREAMED:
        if table.name in rows:
            table.check(rows[table.name])


def test_a_stock_trade_is_spelt_as_in_flat_files() -> None:
    row = _only(_decode(Market.STOCKS, _BY_TAG[Market.STOCKS, "T"]).trades)
    assert row == {
        "symbol": "AAPL",
        "time": _moment(1_536_036_818_784_000_000),
        "sequence_number": 3_681_328,
        "price": 114.125,
        "size": 100.5,
        "exchange": 4,
        "conditions": "12,37",
        "id": "12345",
        "correction": None,
        "participant_time": None,
        "trf_id": 201,
        "trf_time": _moment(1_536_036_818_780_000_000),
        "tape": 3,
        "received_time": _moment(_NOW),
    }


def test_symbols_of_every_market_are_this_platforms() -> None:
    expected = {
        (Market.CRYPTO, "XT"): "X:BTC-USD",
        (Market.FOREX, "C"): "C:EUR-USD",
        (Market.OPTIONS, "Q"): "O:SPY241220P00720000",
        (Market.FUTURES, "A"): "ESZ5",
        (Market.INDICES, "V"): "I:SPX",
    }
    for (market, tag), symbol in expected.items():
        batch = _decode(market, _BY_TAG[market, tag])
        tables = (batch.trades, batch.quotes, batch.bars, *batch.others.values())
        assert [frame["symbol"][0] for frame in tables if frame.height] == [symbol]


def test_both_exchange_spellings_of_forex_are_one_number() -> None:
    quotes = _decode(Market.FOREX, *EVENTS[Market.FOREX][:2], {**EVENTS[Market.FOREX][0], "x": "nowhere"})
    assert quotes.quotes["bid_exchange"].to_list() == quotes.quotes["ask_exchange"].to_list() == [44, 48]
    assert quotes.refused["reason"].to_list() == ["x: 'nowhere' is no exchange id"]


def test_bars_have_their_clock_and_nulls_for_absent_fields() -> None:
    bar = _only(_decode(Market.INDICES, _BY_TAG[Market.INDICES, "AM"]).bars)
    assert (bar["clock"], bar["volume"], bar["vwap"], bar["transactions"]) == ("1m", 0.0, None, None)
    bar = _only(_decode(Market.FUTURES, _BY_TAG[Market.FUTURES, "A"]).bars)
    assert (bar["clock"], bar["volume"], bar["vwap"], bar["transactions"]) == ("1s", 2.0, 6052.5, 2)
    bar = _only(_decode(Market.STOCKS, _BY_TAG[Market.STOCKS, "A"]).bars)
    assert (bar["volume"], bar["day_volume"], bar["vwap"], bar["average_size"]) == (4110.5, 9470157.25, 48.47, 685.0)
    bar = _only(_decode(Market.FOREX, _BY_TAG[Market.FOREX, "CAS"]).bars)
    assert (bar["clock"], bar["volume"]) == ("1s", 27.0)


def test_a_futures_value_in_other_units_than_its_prices_gives_no_mean_price() -> None:
    event = {**_BY_TAG[Market.FUTURES, "A"], "dv": 605_250}
    assert _only(_decode(Market.FUTURES, event).bars)["vwap"] is None


def test_a_crypto_trade_keeps_its_aggressor_and_a_fractional_size() -> None:
    usual = _BY_TAG[Market.CRYPTO, "XT"]
    batch = _decode(Market.CRYPTO, usual, {**usual, "c": [1], "s": 1e-8}, {**usual, "c": []})
    assert batch.trades["conditions"].to_list() == ["2", "1", ""]
    assert batch.trades["size"].to_list() == [0.01616617, 1e-8, 0.01616617]
    assert batch.trades["sequence_number"].null_count() == 3


def test_an_absent_side_of_a_quote_has_price_zero() -> None:
    row = _only(
        _decode(Market.STOCKS, {"ev": "Q", "sym": "A", "bp": 5, "bs": 1, "bx": 4, "t": 1_600_000_000_000}).quotes
    )
    assert (row["bid_price"], row["ask_price"], row["ask_size"], row["ask_exchange"]) == (5.0, 0.0, None, None)
    assert (row["conditions"], row["indicators"]) == ("", "")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1_700_000_000, 1_700_000_000_000_000_000),
        (1_700_000_000_123, 1_700_000_000_123_000_000),
        (1_700_000_000_123_456, 1_700_000_000_123_456_000),
        (1_700_000_000_123_456_789, 1_700_000_000_123_456_789),
        (0, None),
        (-1_700_000_000, None),
        (17_000_000_000, None),
        (17_000_000_000_000_000, None),
        (9_999_999_999_999_999_999, None),
    ],
)
def test_the_unit_of_a_time_is_inferred_or_the_time_is_refused(value: int, expected: int | None) -> None:
    assert to_ns(value) == expected
    batch = _decode(Market.STOCKS, {**_BY_TAG[Market.STOCKS, "T"], "t": value})
    if expected is None:
        assert (batch.trades.height, batch.refused.height) == (0, 1)
    else:
        assert batch.trades["time"].to_physical().to_list() == [expected]


def test_luld_and_noi_keep_the_times_of_their_own_units() -> None:
    others = _decode(Market.STOCKS, *EVENTS[Market.STOCKS][4:]).others
    assert others["price_bands"]["time"].to_physical().to_list() == [1_601_541_600_000_000_000]
    assert others["auction_imbalances"]["time"].to_physical().to_list() == [1_601_318_039_223_013_600]
    assert others["auction_imbalances"]["imbalance"].to_list() == [-480.0]


def test_a_bad_event_does_not_affect_the_others() -> None:
    good = _BY_TAG[Market.STOCKS, "T"]
    bad = [
        {**good, "p": -1},
        {**good, "sym": ""},
        {**good, "s": "many"},
        7,
        {"ev": "ZZ"},
        {"sym": "A"},
        {**good, "x": 10**6},
    ]
    batch = _decode(Market.STOCKS, good, *[event for b in bad for event in (b, good)])
    assert batch.trades.height == len(bad) + 1
    assert batch.refused["line"].to_list() == [2 * i + 2 for i in range(len(bad))]
    assert [json.loads(raw) for raw in batch.refused["raw"]] == bad
    assert (batch.events, batch.unknown_events) == (2 * len(bad) + 1, {"ZZ": 1, "": 1})
    assert all(reason for reason in batch.refused["reason"])


@pytest.mark.parametrize(
    "data", [b"", b"[", b'[{"ev":"T","sym":"AAPL"', b"hello", b"17", b"\xff\xfe", b"[" * 100_000, b"\0"]
)
def test_a_malformed_frame_is_refused_whole_with_its_time_of_receipt(data: bytes) -> None:
    good = json.dumps([_BY_TAG[Market.STOCKS, "T"]]).encode()
    batch = FrameDecoder(Market.STOCKS).decode([Frame(good, _NOW), Frame(data, _NOW + 1), Frame(good, _NOW + 2)])
    assert batch.trades.height == 2
    assert batch.malformed_frames == [_NOW + 1]
    refused = _only(batch.refused)
    assert refused["line"] == 0
    assert refused["source"].endswith("123456790Z")
    assert refused["raw"] == data.decode(errors="backslashreplace").replace("\0", "\\x00")


def test_statuses_are_reported_and_not_counted_as_events() -> None:
    batch = _decode(Market.STOCKS, {"ev": "status", "status": "success", "message": "subscribed to: T.*"})
    assert [(note.status, note.message, note.received_ns) for note in batch.statuses] == [
        ("success", "subscribed to: T.*", _NOW)
    ]
    assert (batch.events, batch.refused.height) == (0, 0)


def test_rows_stay_in_order_of_arrival_through_both_readers_and_many_rounds() -> None:
    usual = _BY_TAG[Market.STOCKS, "T"]
    numbers = list(range(30_000))
    frames = [
        Frame(json.dumps([{**usual, "q": q, "sym": f"S{q % 700}"} for q in numbers[i : i + 10]]).encode(), _NOW + i)
        for i in range(0, len(numbers), 10)
    ]
    batch = FrameDecoder(Market.STOCKS).decode(frames)
    assert batch.trades["sequence_number"].to_list() == numbers
    assert (batch.first_received_ns, batch.last_received_ns) == (frames[0].received_ns, frames[-1].received_ns)
    assert batch.trades["received_time"].to_physical().is_sorted()


def test_no_frames_give_an_empty_batch_with_exact_schemas() -> None:
    batch = FrameDecoder(Market.CRYPTO).decode([])
    assert (batch.events, batch.others, batch.first_received_ns) == (0, {}, 0)
    for table in STREAMED[:3]:
        assert _table(batch, table.name).schema == table.schema
