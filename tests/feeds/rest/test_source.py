"""The REST source against a real server: its requests, its rows, and their order."""

import datetime as dt
import threading
from collections.abc import Iterator
from dataclasses import replace

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tapewatch.feeds.errors import EntitlementError, RestAuthenticationError
from tapewatch.feeds.rest.source import RestSource
from tapewatch.feeds.rest.transport import Patience
from tapewatch.feeds.source import Load, SourceError, TapeSource
from tapewatch.market.instruments import Market, Partition, session_of
from tapewatch.market.tables.tape import DELIVERED_BARS, QUOTES, TRADES
from tests.support.faulty_vendor import KEY, FaultyVendor, faulty_vendor
from tests.support.rest_tapes import (
    CRYPTO,
    DAY,
    NOW,
    OPEN,
    STOCKS,
    crypto_trades,
    minute_bars,
    stock_quotes,
    stock_trades,
)

PATIENCE = Patience(attempts=3, first_wait_s=0.01, longest_wait_s=2, connect_timeout_s=60, read_timeout_s=60)


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyVendor]:
    with faulty_vendor() as vendor:
        yield vendor


@pytest.fixture
def vendor(server: FaultyVendor) -> FaultyVendor:
    fresh = FaultyVendor(base_url=server.base_url)
    server.__dict__.update(fresh.__dict__)
    return server


def source(vendor: FaultyVendor, tier: str = "advanced", **kw) -> RestSource:
    kw = {"patience": PATIENCE, "clock": lambda: NOW} | kw
    return RestSource(vendor.base_url, KEY, dict.fromkeys(Market, tier), **kw)


def whole(load: Load) -> pl.DataFrame:
    frames = list(load)
    return pl.concat(frames) if frames else pl.DataFrame()


def test_it_is_a_tape_source(vendor):
    rest: TapeSource = source(vendor)
    assert rest.name == "rest"


def test_trades_arrive_with_every_column(vendor):
    vendor.rows["trades/AAPL"] = stock_trades(20, ties=False)
    load = source(vendor).trades(STOCKS, ["AAPL"])
    frame = whole(load)
    TRADES.check(frame)
    assert frame.select("symbol", "price", "size", "sequence_number", "exchange", "id", "trf_id", "tape").rows() == [
        ("AAPL", r["price"], 100.0, r["sequence_number"], 4, r["id"], 201, 3) for r in vendor.rows["trades/AAPL"]
    ]
    assert frame["conditions"].cast(pl.String).to_list()[:4] == ["12,37", "", "", "12,37"]
    for column, name in (
        ("time", "sip_timestamp"),
        ("participant_time", "participant_timestamp"),
        ("trf_time", "trf_timestamp"),
    ):
        assert frame[column].dt.timestamp("ns").to_list() == [r[name] for r in vendor.rows["trades/AAPL"]]
    assert (load.source_rows, load.duplicates, load.quarantine.height) == (20, 0, 0)


def test_requests_are_for_the_day_in_ascending_full_pages_with_the_key_in_the_header(vendor):
    vendor.rows["trades/AAPL"] = stock_trades(5)
    whole(source(vendor).trades(STOCKS, ["AAPL"]))
    first = vendor.seen[0]
    session = session_of(Market.STOCKS, DAY)
    assert first.query == {
        "timestamp.gte": str(session.day_start),
        "timestamp.lt": str(session.day_end),
        "order": "asc",
        "sort": "timestamp",
        "limit": "50000",
    }
    assert first.authorization == f"Bearer {KEY}"


def test_quotes_keep_an_empty_side(vendor):
    vendor.rows["quotes/AAPL"] = stock_quotes(4)
    frame = whole(source(vendor).quotes(STOCKS, ["AAPL"]))
    QUOTES.check(frame)
    assert frame.row(0, named=True)["bid_price"] == 0.0
    assert frame.row(0, named=True)["bid_size"] == 0.0
    assert frame["indicators"].cast(pl.String).unique().to_list() == ["604"]


def test_bars_are_unadjusted_and_cover_the_day(vendor):
    vendor.rows["bars/AAPL"] = minute_bars(10)
    frame = whole(source(vendor).bars(STOCKS, ["AAPL"]))
    DELIVERED_BARS.check(frame)
    assert frame["time"].dt.timestamp("ns").to_list() == [OPEN + 60 * 10**9 * i for i in range(10)]
    assert frame["vwap"].null_count() == frame["transactions"].null_count() == 1
    session = session_of(Market.STOCKS, DAY)
    first = vendor.seen[0]
    assert (
        first.path == f"/v2/aggs/ticker/AAPL/range/1/minute/{session.day_start // 10**6}/{session.day_end // 10**6 - 1}"
    )
    assert (first.query["adjusted"], first.query["sort"]) == ("false", "asc")


def test_crypto_trades_are_requested_in_the_spelling_of_files_and_numbered_by_position(vendor):
    rows = crypto_trades(200)
    vendor.rows["trades/X:BTC-USD"] = [*rows, rows[17], rows[18]]
    load = source(vendor).trades(CRYPTO, ["X:BTC-USD"])
    frame = whole(load)
    TRADES.check(frame)
    expected = sorted(rows, key=lambda r: (r["participant_timestamp"], r["exchange"], r["id"]))
    assert frame["id"].to_list() == [r["id"] for r in expected]
    assert frame["sequence_number"].to_list() == list(range(1, 201))
    assert frame["symbol"].cast(pl.String).unique().to_list() == ["X:BTC-USD"]
    assert (load.source_rows, load.duplicates) == (202, 2)


@pytest.mark.slow
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(1, 60),
    page=st.integers(1, 61),
    seed=st.integers(0, 5),
    kind=st.sampled_from(["stocks", "crypto"]),
)
def test_pages_of_any_size_give_the_same_frame(server, count, page, seed, kind):
    server.__dict__.update(FaultyVendor(base_url=server.base_url).__dict__)
    partition, symbol, key, rows = {
        "stocks": (STOCKS, "AAPL", "trades/AAPL", stock_trades(count, seed)),
        "crypto": (CRYPTO, "X:BTC-USD", "trades/X:BTC-USD", crypto_trades(count, seed)),
    }[kind]
    server.rows[key] = rows
    at_once = whole(source(server).trades(partition, [symbol]))
    load = source(server, page_limit=page).trades(partition, [symbol])
    assert whole(load).equals(at_once)
    assert at_once.height == load.source_rows == count


def test_symbols_come_in_order_whatever_the_order_of_the_request(vendor):
    symbols = ["MSFT", "AAPL", "ZS", "BAC", "IBM", "F"]
    vendor.rows = {f"trades/{symbol}": stock_trades(3, seed) for seed, symbol in enumerate(symbols)}
    frames = list(source(vendor, workers=3).trades(STOCKS, [*symbols, "AAPL"]))
    assert [frame["symbol"][0] for frame in frames] == sorted(symbols)


def test_all_symbols_are_those_the_vendor_lists(vendor):
    vendor.tickers = ["MSFT", "AAPL", "IBM"]
    vendor.rows = {f"trades/{symbol}": stock_trades(3) for symbol in ("AAPL", "MSFT")}
    load = source(vendor).trades(STOCKS)
    assert [frame["symbol"][0] for frame in load] == ["AAPL", "MSFT"]
    assert load.notices == []


def test_a_known_symbol_without_trading_is_reported_and_not_fatal(vendor):
    vendor.tickers = ["IBM"]
    vendor.rows["trades/AAPL"] = stock_trades(3)
    load = source(vendor).trades(STOCKS, ["IBM", "AAPL"])
    assert [frame["symbol"][0] for frame in load] == ["AAPL"]
    assert load.notices == ["no trades for IBM on 2024-05-01: the symbol is known, but has no trading that day"]


def test_an_unknown_symbol_is_an_error_in_its_place(vendor):
    vendor.rows["trades/AAPL"] = stock_trades(3)
    frames = iter(source(vendor).trades(STOCKS, ["ZZZZ", "AAPL"]))
    assert next(frames)["symbol"][0] == "AAPL"
    with pytest.raises(SourceError, match=r"no trades for ZZZZ on 2024-05-01: unknown symbol, the vendor's reference"):
        next(frames)


@pytest.mark.parametrize(
    ("tier", "table", "day", "message"),
    [
        ("starter", "trades", DAY, r"no trades for AAPL on 2024-05-01: the plan 'starter' has no trades of stocks; set POLYGON_TIER_STOCKS"),
        ("developer", "quotes", DAY, r"the plan 'developer' has no quotes of stocks"),
        ("developer", "trades", dt.date(2013, 10, 8), r"no trades for AAPL on 2013-10-08: the plan 'developer' shows stocks from 2014-0[56]"),
        ("basic", "bars", dt.date(2021, 10, 8), r"the plan 'basic' shows stocks from 2022"),
        ("basic", "bars", NOW.date() - dt.timedelta(days=1), r"the plan 'basic' shows stocks from .* to 2024-05-30"),
    ],
)  # fmt: skip
def test_what_the_plan_does_not_include_is_refused_before_any_call(vendor, tier, table, day, message):
    with pytest.raises(EntitlementError, match=message):
        getattr(source(vendor, tier), table)(Partition(day, Market.STOCKS), ["AAPL"])
    assert vendor.seen == []


@pytest.mark.parametrize(
    ("day", "message"),
    [
        (dt.date(2024, 5, 4), r"2024-05-04 is no trading day for stocks \(Saturday\)"),
        (dt.date(2024, 5, 27), r"2024-05-27 is no trading day for stocks \(Monday, a holiday\)"),
        (dt.date(2024, 6, 3), r"2024-06-03 lies in the future"),
    ],
)
def test_days_without_a_tape_are_refused_before_any_call(vendor, day, message):
    with pytest.raises(SourceError, match=message):
        source(vendor).trades(Partition(day, Market.STOCKS), ["AAPL"])
    assert vendor.seen == []


def test_markets_without_a_table_deliver_nothing(vendor):
    rest = source(vendor)
    forex = Partition(DAY, Market.FOREX)
    assert list(rest.trades(forex, ["C:EUR-USD"])) == []
    index = Partition(DAY, Market.INDICES)
    assert list(rest.trades(index, ["I:SPX"])) == list(rest.quotes(index, ["I:SPX"])) == []
    vendor_itself = RestSource("https://api.polygon.io", KEY, {Market.CRYPTO: "starter"})
    assert list(vendor_itself.quotes(CRYPTO, ["X:BTC-USD"])) == []
    assert vendor_itself.truth(CRYPTO, ["X:BTC-USD"]) is None


def test_truth_is_the_emulator_s_or_none(vendor):
    assert source(vendor).truth(STOCKS, ["AAPL"]) is None
    vendor.truth = {
        "AAPL": [{"ticker": "AAPL", "event_id": "e1", "kind": "price_jump", "start_ns": OPEN, "end_ns": OPEN + 9}]
    }
    truth = source(vendor).truth(STOCKS, ["AAPL", "MSFT"])
    assert truth.columns == ["symbol", "event_id", "kind", "start_time", "end_time"]
    assert truth.select("symbol", "event_id", "kind").rows() == [("AAPL", "e1", "price_jump")]
    assert truth["start_time"].dt.timestamp("ns").to_list() == [OPEN]


def test_without_a_key_there_is_no_source(vendor):
    for key in ("", "  ", "two words", "line\nbreak"):
        with pytest.raises(RestAuthenticationError, match="POLYGON_API_KEY"):
            RestSource(vendor.base_url, key, {})


def test_ending_the_iteration_early_stops_the_fetching(vendor):
    vendor.rows = {f"trades/S{number:03}": stock_trades(2) for number in range(50)}
    frames = source(vendor, workers=2).trades(STOCKS, [f"S{number:03}" for number in range(50)]).frames
    next(frames)
    fetching = [thread for thread in threading.enumerate() if thread.name.startswith("rest")]
    frames.close()
    # Otherwise a call in progress would be the first of the next test.
    for thread in fetching:
        thread.join(PATIENCE.read_timeout_s)
    assert fetching
    assert len(vendor.seen) < 20


def test_an_error_does_not_affect_the_next_request(vendor):
    partition = replace(STOCKS)
    vendor.rows["trades/AAPL"] = stock_trades(3)
    vendor.faults[1] = lambda body: b"{"
    rest = source(vendor)
    with pytest.raises(SourceError):
        whole(rest.trades(partition, ["AAPL"]))
    assert whole(rest.trades(partition, ["AAPL"])).height == 3
