"""The REST source against an emulator process, compared with the generator, the official client and flat files."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from polygon import RESTClient
from polygon.rest.models import Agg, Trade

from tapewatch.emulator.process import running_emulator
from tapewatch.emulator.synthetic.market import Synthetic
from tapewatch.feeds.errors import EntitlementError, RestAuthenticationError
from tapewatch.feeds.files.source import FlatFileSource
from tapewatch.feeds.probe import probe
from tapewatch.feeds.rest.source import RestSource
from tapewatch.feeds.source import SourceError
from tapewatch.market.conditions import STOCK_UPDATE_RULES, Updates
from tapewatch.market.instruments import Market, Partition, session_of
from tapewatch.market.tables.tape import DELIVERED_BARS, QUOTES, TRADES

pytestmark = pytest.mark.slow
SEED = 11
DAY = dt.date(2024, 5, 1)
ALL = dict.fromkeys(Market, "advanced")
PARTITIONS = [(Partition(DAY, Market.STOCKS), "AAPL"), (Partition(DAY, Market.CRYPTO), "X:DOGE-USD")]


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with running_emulator(seed=SEED) as emulator:
        yield emulator.base_url


@pytest.fixture(scope="module")
def rest(base_url: str) -> RestSource:
    return RestSource(base_url, "advanced-key", ALL)


@pytest.mark.parametrize(("partition", "symbol"), PARTITIONS)
@pytest.mark.parametrize(("name", "table"), [("trades", TRADES), ("quotes", QUOTES)])
def test_the_tape_is_the_generator_s(rest, partition, symbol, name, table):
    (delivered,) = getattr(rest, name)(partition, [symbol])
    table.check(delivered)
    made = getattr(Synthetic(SEED).day(symbol, DAY), name)
    # REST does not distinguish an absent list of indicators from an empty one.
    columns = [column for column in delivered.columns if column != "indicators"]
    assert delivered.select(columns).equals(made.select(columns))


@pytest.mark.parametrize(("partition", "symbol"), PARTITIONS)
def test_small_pages_give_the_same_tape(base_url, rest, partition, symbol):
    paged = RestSource(base_url, "advanced-key", ALL, page_limit=4_999)
    assert pl.concat(paged.trades(partition, [symbol])).equals(pl.concat(rest.trades(partition, [symbol])))


def test_the_official_client_reads_the_same(base_url, rest):
    client = RESTClient("advanced-key", base=base_url)
    session = session_of(Market.STOCKS, DAY)
    trades: list[Trade] = list(
        client.list_trades(
            "MSFT", timestamp_gte=session.day_start, timestamp_lt=session.day_end, order="asc", limit=50_000
        )
    )
    (ours,) = rest.trades(Partition(DAY, Market.STOCKS), ["MSFT"])
    assert ours["price"].to_list() == [trade.price for trade in trades]
    assert ours["time"].dt.timestamp("ns").to_list() == [trade.sip_timestamp for trade in trades]
    bars: list[Agg] = list(client.list_aggs("MSFT", 1, "minute", str(DAY), str(DAY), adjusted=False, limit=50_000))
    (minutes,) = rest.bars(Partition(DAY, Market.STOCKS), ["MSFT"])
    DELIVERED_BARS.check(minutes)
    assert minutes["volume"].to_list() == [bar.volume for bar in bars]
    assert minutes["time"].dt.timestamp("ms").to_list() == [bar.timestamp for bar in bars]


def test_truth_is_served_in_the_platform_s_spelling(rest):
    for partition, symbol in PARTITIONS:
        truth = rest.truth(partition, [symbol])
        assert truth.height
        assert truth.equals(Synthetic(SEED).day(symbol, DAY).truth.select(truth.columns))


def test_reference_data_reads(rest):
    assert {"AAPL", "MSFT"} <= set(rest.reference.symbols(Market.STOCKS))
    assert "X:BTC-USD" in rest.reference.symbols(Market.CRYPTO)
    assert next(iter(rest.reference.market_status())) == "stocks"
    rules = rest.reference.update_rules(Market.STOCKS)
    known = {code: allowed for code, allowed in STOCK_UPDATE_RULES.items() if code in rules}
    assert known
    assert {code: rules[code] for code in known} == known
    assert rules[14] == Updates.EVERYTHING


def test_unknown_symbols_and_plans_set_too_high_are_reported(base_url, rest):
    stocks = Partition(DAY, Market.STOCKS)
    with pytest.raises(SourceError, match="no trades for ZZZZ on 2024-05-01: unknown symbol"):
        list(rest.trades(stocks, ["ZZZZ"]))
    overstated = RestSource(base_url, "starter-key", ALL)
    with pytest.raises(EntitlementError, match="POLYGON_TIER_STOCKS"):
        list(overstated.trades(stocks, ["AAPL"]))
    tables = [
        (row.what.split(" ")[0], row.is_ok)
        for row in probe(overstated, {Market.STOCKS: ("AAPL",)}, today=dt.date(2024, 5, 2))
    ]
    assert tables == [("server", True), ("bars", True), ("trades", False), ("quotes", False), ("condition", True)]


def test_a_wrong_key(tmp_path: Path):
    with running_emulator(key="the-right-key") as emulator:
        with pytest.raises(RestAuthenticationError, match="POLYGON_API_KEY"):
            list(RestSource(emulator.base_url, "a-wrong-key", ALL).bars(Partition(DAY, Market.STOCKS), ["AAPL"]))
        assert list(RestSource(emulator.base_url, "the-right-key", ALL).bars(Partition(DAY, Market.STOCKS), ["AAPL"]))


@pytest.mark.real_tape
def test_a_replayed_tape_is_that_of_its_files(market_data: Path):
    partition = Partition(dt.date(2013, 10, 7), Market.STOCKS)
    files = FlatFileSource(str(market_data))
    with running_emulator(flat_files=market_data) as emulator:
        rest = RestSource(emulator.base_url, "any", ALL)
        assert rest.truth(partition, ["IBM"]) is None
        for name in ("trades", "quotes", "bars"):
            over_rest = pl.concat(getattr(rest, name)(partition, ["BAC", "IBM"]))
            from_files = pl.concat(getattr(files, name)(partition, ["BAC", "IBM"]))
            # REST omits zeros: the correction of a valid trade, and the facility of a trade without one.
            zeros = [pl.col(column).fill_null(0) for column in ("correction", "trf_id") if column in over_rest.columns]
            assert over_rest.with_columns(zeros).equals(from_files.with_columns(zeros))
