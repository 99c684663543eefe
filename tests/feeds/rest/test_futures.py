"""Futures over REST, with their own addresses, fields and units; and trades of options, which have no sequence numbers."""

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from starlette.responses import Response

from tapewatch.feeds.errors import PageError
from tapewatch.feeds.rest.source import RestSource
from tapewatch.feeds.rest.transport import Patience
from tapewatch.feeds.source import SourceError
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.tape import DELIVERED_BARS, QUOTES, TRADES
from tests.support.faulty_vendor import KEY, FaultyVendor, faulty_vendor
from tests.support.rest_tapes import DAY, NOW, minute_bars, stock_trades

FUTURES = Partition(DAY, Market.FUTURES)
OPTIONS = Partition(DAY, Market.OPTIONS)
OPEN = FUTURES.session.day_start
CONTRACT, OPTION = "ESM4", "O:SPY240621C00500000"
TABLES = {"trades": TRADES, "quotes": QUOTES, "bars": DELIVERED_BARS}
PATIENCE = Patience(attempts=2, first_wait_s=0.01, longest_wait_s=0.1, connect_timeout_s=60, read_timeout_s=60)


def rows_of(table: str, count: int = 25) -> list[dict[str, Any]]:
    if table == "bars":
        prices = {"open": 5100.0, "high": 5101.0, "low": 5099.5, "close": 5100.25}
        counts = {"volume": 12, "dollar_volume": 3_060_000.0, "transactions": 4}
        return [{"ticker": CONTRACT, "window_start": OPEN + i * 60 * 10**9, **prices, **counts} for i in range(count)]
    sides = {"bid_price": 5100.0, "bid_size": 3, "ask_price": 5100.25, "ask_size": 5}
    trade = {"price": 5100.25, "size": 2}
    fields = trade if table == "trades" else sides
    return [{"ticker": CONTRACT, "timestamp": OPEN + i // 2 * 10**6, **fields} for i in range(count)]


#: A day that ends below zero, as crude oil's did on 2020-04-20.
BELOW_ZERO = {
    "trades": [{"price": price, "size": 1} for price in (0.01, 0.0, -0.01, -37.63)],
    "quotes": [
        {"bid_price": -0.01, "bid_size": 2, "ask_price": 0.0, "ask_size": 3},
        {"bid_price": -37.65, "bid_size": 2, "ask_price": -37.6, "ask_size": 3},
    ],
    "bars": [
        {"open": 0.02, "high": 0.02, "low": -0.03, "close": 0.0, "volume": 9},
        {"open": 0.0, "high": 0.0, "low": -40.32, "close": -37.63, "volume": 9},
    ],
}


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyVendor]:
    with faulty_vendor() as vendor:
        yield vendor


@pytest.fixture
def vendor(server: FaultyVendor) -> FaultyVendor:
    server.__dict__.update(FaultyVendor(base_url=server.base_url).__dict__)
    server.rows = {f"{table}/{CONTRACT}": rows_of(table) for table in TABLES}
    server.tickers = [CONTRACT]
    return server


def source(vendor: FaultyVendor, **kw: Any) -> RestSource:
    settings = {"patience": PATIENCE, "clock": lambda: NOW, "page_limit": 10} | kw
    return RestSource(vendor.base_url, KEY, dict.fromkeys(Market, "advanced"), **settings)


def fetched(vendor: FaultyVendor, table: str, partition: Partition = FUTURES, symbol: str = CONTRACT) -> pl.DataFrame:
    return pl.concat(getattr(source(vendor), table)(partition, [symbol]))


@pytest.mark.parametrize("table", TABLES)
def test_every_row_arrives_under_the_table_s_schema(vendor, table):
    frame = fetched(vendor, table)
    TABLES[table].check(frame)
    assert frame.height == 25
    assert frame["symbol"].unique().to_list() == [CONTRACT]
    assert frame["time"].dt.timestamp("ns")[0] == OPEN
    first = vendor.seen[0]
    assert first.path == f"/futures/v1/{'aggs' if table == 'bars' else table}/{CONTRACT}"
    assert first.query["sort"] == ("window_start.asc" if table == "bars" else "timestamp.asc")
    assert first.authorization == f"Bearer {KEY}"
    if table == "bars":
        assert frame["vwap"].null_count() == frame.height
        assert frame["transactions"].to_list() == [4] * 25
    else:
        assert frame["sequence_number"].to_list() == list(range(1, 26))


def test_the_count_of_trades_is_read_under_either_name(vendor):
    for row in vendor.rows[f"bars/{CONTRACT}"]:
        row["transaction_count"] = row.pop("transactions")
    assert fetched(vendor, "bars")["transactions"].to_list() == [4] * 25


@pytest.mark.parametrize("divisor", [1, 10**3, 10**6])
def test_the_unit_of_a_time_is_inferred_by_its_magnitude(vendor, divisor):
    expected = [row["timestamp"] for row in rows_of("trades")]
    vendor.every_fault = lambda body: (
        body | {"results": [row | {"timestamp": row["timestamp"] // divisor} for row in body.get("results", [])]}
    )
    rest = source(vendor, page_limit=50)
    # The completeness check requests nanoseconds and gets the same rows, as this test has whole milliseconds only.
    assert pl.concat(rest.trades(FUTURES, [CONTRACT]))["time"].dt.timestamp("ns").to_list() == expected


def test_a_time_of_no_unit_is_quarantined(vendor):
    rows = vendor.rows[f"trades/{CONTRACT}"] = rows_of("trades", 3)
    vendor.faults[1] = lambda body: body | {"results": [*rows[:2], rows[2] | {"timestamp": 12}]}
    load = source(vendor, page_limit=50).trades(FUTURES, [CONTRACT])
    assert sum(frame.height for frame in load) == 2
    assert load.quarantine["reason"].to_list() == ["time: the row states none"]


def test_stated_sequence_numbers_are_kept(vendor):
    for number, row in enumerate(vendor.rows[f"trades/{CONTRACT}"]):
        row["sequence_number"] = 1000 + 7 * number
    assert fetched(vendor, "trades")["sequence_number"].to_list() == [1000 + 7 * n for n in range(25)]


def test_only_a_first_page_may_lack_results(vendor):
    def bare(body):
        return {"status": "OK"}

    vendor.every_fault = bare
    load = source(vendor).trades(FUTURES, [CONTRACT])
    vendor.faults[2] = lambda body: body
    assert list(load) == []
    assert load.notices == [f"no trades for {CONTRACT} on {DAY}: the symbol is known, but has no trading that day"]
    vendor.every_fault, vendor.faults = None, {len(vendor.seen) + 2: bare}
    with pytest.raises(PageError, match=r"page 2 .*it has no results"):
        fetched(vendor, "trades")


def test_an_unlisted_contract_is_an_error(vendor):
    with pytest.raises(SourceError, match="no bars for ESZ9 on 2024-05-01: unknown symbol"):
        fetched(vendor, "bars", symbol="ESZ9")
    asked = {"ticker": "ESZ9", "date": str(DAY), "limit": "1"}
    assert vendor.seen[-1].query == asked, "an expired contract is known as of its days alone"


@pytest.mark.parametrize("table", TABLES)
def test_the_old_addresses_are_the_fallback(vendor, table):
    straight = fetched(vendor, table)
    vendor.unknown_path = "/futures/v1/"
    vendor.seen.clear()
    assert fetched(vendor, table).equals(straight)
    ask = f"{'aggs' if table == 'bars' else table}/{CONTRACT}"
    assert [seen.path for seen in vendor.seen[:3]] == [f"/futures/v1/{ask}", *2 * [f"/futures/vX/{ask}"]]
    del vendor.rows[f"{table}/{CONTRACT}"]
    load = getattr(source(vendor), table)(FUTURES, [CONTRACT])
    assert list(load) == []
    assert vendor.seen[-1].query == {"as_of": str(DAY)}


@pytest.mark.parametrize("table", TABLES)
def test_prices_of_zero_and_below_arrive(vendor, table):
    time = "window_start" if table == "bars" else "timestamp"
    rows = [{time: OPEN + i * 60 * 10**9, **row} for i, row in enumerate(BELOW_ZERO[table])]
    vendor.rows[f"{table}/{CONTRACT}"] = rows
    load = getattr(source(vendor), table)(FUTURES, [CONTRACT])
    frame = pl.concat(load)
    assert load.quarantined == []
    TABLES[table].check(frame, Market.FUTURES)
    for name in BELOW_ZERO[table][0]:
        assert frame[name].to_list() == [row[name] for row in rows]


@pytest.mark.parametrize(
    ("table", "spoilt"),
    [("trades", {"size": -1}), ("quotes", {"bid_size": -2}), ("bars", {"volume": -9}), ("bars", {"high": -41.0})],
)
def test_impossible_values_are_quarantined(vendor, table, spoilt):
    time = "window_start" if table == "bars" else "timestamp"
    rows = [{time: OPEN + i * 60 * 10**9, **row} for i, row in enumerate(BELOW_ZERO[table])]
    rows[1] |= spoilt
    vendor.rows[f"{table}/{CONTRACT}"] = rows
    load = getattr(source(vendor), table)(FUTURES, [CONTRACT])
    assert pl.concat(load).height == len(rows) - 1
    assert load.quarantine.height == 1


def test_a_plan_without_trades_of_futures_names_its_setting(vendor):
    rest = RestSource(vendor.base_url, KEY, {Market.FUTURES: "starter"}, patience=PATIENCE, clock=lambda: NOW)
    with pytest.raises(SourceError, match="POLYGON_TIER_FUTURES"):
        rest.trades(FUTURES, [CONTRACT])


def test_option_trades_without_numbers_are_numbered_by_their_place(vendor):
    rows = stock_trades(12)
    for row in rows:
        del row["sequence_number"], row["id"]
    vendor.rows[f"trades/{OPTION}"] = rows
    frame = fetched(vendor, "trades", OPTIONS, OPTION)
    TRADES.check(frame)
    assert frame["sequence_number"].to_list() == list(range(1, 13))


def test_a_metered_plan_gets_a_month_of_bars_in_one_call(vendor):
    partitions = [Partition(dt.date(2024, 4, day), Market.STOCKS) for day in (22, 23, 24, 25, 26, 29, 30)]
    tape = {p: minute_bars(5 + n, p.session.regular_start) for n, p in enumerate(partitions) if n != 3}
    vendor.rows["bars/AAPL"] = [row for rows in tape.values() for row in rows]
    vendor.rows["bars/MSFT"] = minute_bars(3, partitions[0].session.regular_start)
    vendor.rows["bars/AAPL"][7]["o"] = -1.0
    key = f"{KEY}-a-month"
    settings = {"patience": PATIENCE, "clock": lambda: NOW}
    rest = RestSource(vendor.base_url, key, {}, bars_until={Market.STOCKS: partitions[-1].date}, **settings)
    loads, heights = {}, {}
    for partition in partitions:
        loads[partition] = load = rest.bars(partition, ["MSFT", "AAPL"])
        delivered = pl.concat([DELIVERED_BARS.empty(), *load])
        heights[partition] = delivered.filter(pl.col("symbol") == "AAPL").height
        assert load.source_rows == delivered.height + load.duplicates + load.quarantine.height
    assert len(vendor.seen) == 2
    assert list(heights.values()) == [5, 5, 7, 0, 9, 10, 11]
    assert loads[partitions[0]].quarantine.height == 1
    assert sum(load.quarantine.height for load in loads.values()) == 1
    assert [notice.split(":")[0] for notice in loads[partitions[3]].notices] == [
        "no bars for AAPL on 2024-04-25",
        "no bars for MSFT on 2024-04-25",
    ]


def test_an_incomplete_month_is_requested_again(vendor):
    first, second = (Partition(dt.date(2024, 4, day), Market.STOCKS) for day in (22, 23))
    vendor.rows["bars/AAPL"] = minute_bars(3, first.session.regular_start)
    vendor.faults[1] = lambda body: Response(json.dumps({"status": "ERROR"}), 400)
    rest = RestSource(
        vendor.base_url,
        f"{KEY}-again",
        {},
        bars_until={Market.STOCKS: second.date},
        patience=PATIENCE,
        clock=lambda: NOW,
    )
    with pytest.raises(SourceError):
        list(rest.bars(first, ["AAPL"]))
    assert sum(frame.height for frame in rest.bars(first, ["AAPL"])) == 3
    assert list(rest.bars(second, ["AAPL"])) == []
    assert len(vendor.seen) == 2


@pytest.mark.parametrize("day", ["2025-11-28", "2025-01-09", "2023-04-07"])
def test_a_day_with_an_early_close_is_asked_for_until_its_end(vendor, day):
    partition = Partition(dt.date.fromisoformat(day), Market.FUTURES)
    end = dt.datetime.combine(partition.date, dt.time(17), ZoneInfo("America/Chicago"))
    list(source(vendor, clock=lambda: dt.datetime(2026, 1, 2, tzinfo=dt.UTC)).trades(partition, [CONTRACT]))
    query = vendor.seen[0].query
    assert int(query["timestamp.lt"]) == int(end.timestamp()) * 10**9
    assert int(query["timestamp.gte"]) == int(end.timestamp() - 86_400) * 10**9
