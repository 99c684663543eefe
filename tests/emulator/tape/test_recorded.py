"""The official client reads recorded files through the emulator unchanged; recorded days have no labels."""

import datetime as dt
import gzip
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from polygon import RESTClient

from tapewatch.emulator.synthetic.market import Synthetic
from tapewatch.emulator.tape.recorded import RecordedTape
from tapewatch.feeds.rest.source import RestSource
from tapewatch.market.instruments import Market, Partition
from tests.support import ask
from tests.support.emulator import Clock, serving
from tests.support.flat_tapes import write_days
from tests.support.recorded import recorded_bars, recorded_trades

DAY = dt.date(2024, 3, 5)


def write(folder: Path, layout: str, rows: pl.DataFrame) -> None:
    path = folder / layout / f"{DAY:%Y/%m}" / f"{DAY}.csv.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress(rows.write_csv().encode()))


def stock_rows(frame: pl.DataFrame) -> pl.DataFrame:
    times = {"sip_timestamp": "time", "participant_timestamp": "participant_time", "trf_timestamp": "trf_time"}
    return frame.with_columns(
        pl.col("symbol").alias("ticker"),
        *(pl.col(ours).dt.epoch("ns").fill_null(0).alias(theirs) for theirs, ours in times.items()),
    ).drop("symbol", "time", "participant_time", "trf_time")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("flat-files")
    days = [Synthetic(2).day(symbol, DAY, trades=3000) for symbol in ("SYN001", "SYN002")]
    write(root, "us_stocks_sip/trades_v1", stock_rows(pl.concat([day.trades for day in days])))
    write(root, "us_stocks_sip/quotes_v1", stock_rows(pl.concat([day.quotes for day in days])))
    crypto = Synthetic(2).day("X:DOT-USD", DAY, trades=3000).trades
    columns = {"ticker": "symbol", "conditions": "conditions", "exchange": "exchange", "id": "id"}
    rows = crypto.select(
        **columns, participant_timestamp=pl.col("time").dt.epoch("ns"), price=pl.col("price"), size=pl.col("size")
    )
    write(root, "global_crypto/trades_v1", rows)
    return root


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    with serving(RecordedTape(str(folder))) as address:
        yield address


@pytest.fixture(scope="module")
def client(url: str) -> RESTClient:
    return RESTClient("k", base=url, retries=0)


@pytest.mark.parametrize("symbol", ["SYN001", "SYN002"])
def test_stocks_are_served_as_recorded(client: RESTClient, symbol: str) -> None:
    day = Synthetic(2).day(symbol, DAY, trades=3000)
    trades = list(client.list_trades(symbol, timestamp=str(DAY), limit=1000, order="asc"))
    assert [trade.sequence_number for trade in trades] == day.trades["sequence_number"].to_list()
    assert [trade.price for trade in trades] == day.trades["price"].to_list()
    assert [trade.sip_timestamp for trade in trades] == day.trades["time"].to_physical().to_list()
    quotes = list(client.list_quotes(symbol, limit=50_000))
    assert [quote.bid_price for quote in quotes] == day.quotes["bid_price"].to_list()[::-1]


def test_crypto_is_served_as_recorded(client: RESTClient) -> None:
    trades = list(client.list_trades("X:DOTUSD", limit=50_000, order="asc"))
    expected = Synthetic(2).day("X:DOT-USD", DAY, trades=3000).trades
    assert [trade.size for trade in trades] == expected["size"].to_list()
    assert list(client.list_quotes("X:DOTUSD")) == []


def test_missing_bars_are_built_from_trades(client: RESTClient) -> None:
    bars = client.get_aggs("SYN001", 1, "minute", str(DAY), str(DAY), limit=50_000)
    assert len(bars) > 300
    assert client.get_aggs("SYN001", 1, "day", str(DAY), str(DAY))[0].close == pytest.approx(bars[-1].close, rel=0.02)


def test_only_recorded_symbols_are_listed(client: RESTClient) -> None:
    assert [ticker.ticker for ticker in client.list_tickers(limit=1000)] == ["SYN001", "SYN002", "X:DOTUSD"]
    assert list(client.list_trades("SYN003")) == []
    assert list(client.list_trades("SYN001", timestamp="2024-03-06")) == []


def test_recorded_files_have_no_labels(url: str) -> None:
    assert ask.get(f"{url}/emulator/v1/info", timeout=60).json()["source"] == "recorded"
    answer = ask.get(f"{url}/emulator/v1/truth", params={"ticker": "SYN001", "date": str(DAY)}, timeout=60)
    assert answer.status_code == 404


def test_an_empty_folder_is_an_empty_market(tmp_path: Path) -> None:
    tape = RecordedTape(str(tmp_path))
    assert tape.symbols(Market.STOCKS) == []
    with serving(tape) as url:
        assert list(RESTClient("k", base=url).list_trades("AAPL")) == []


@pytest.mark.slow
@pytest.mark.real_tape
def test_a_recorded_day_is_served_completely(market_data: Path) -> None:
    date = dt.date(2013, 10, 7)
    now = Clock(int(dt.datetime(2026, 1, 5, tzinfo=dt.UTC).timestamp()) * 1_000_000_000)
    with serving(RecordedTape(str(market_data)), clock=now) as url:
        client = RESTClient("k", base=url)
        trades = list(client.list_trades("AIG", timestamp=str(date), limit=50_000, order="asc"))
        bars = client.get_aggs("AIG", 1, "minute", str(date), str(date), limit=50_000)
    recorded = recorded_trades(market_data, date).filter(pl.col("symbol") == "AIG")
    assert len(trades) == 25_351
    assert [trade.sequence_number for trade in trades] == recorded["sequence_number"].to_list()
    assert [trade.price for trade in trades] == recorded["price"].to_list()
    delivered = recorded_bars(market_data, date).filter(pl.col("symbol") == "AIG")
    assert [bar.volume for bar in bars] == delivered["volume"].to_list()
    assert [bar.open for bar in bars] == delivered["open"].to_list()


def test_files_of_futures_are_served_over_rest(tmp_path: Path) -> None:
    write_days(tmp_path, Market.FUTURES, [DAY], symbols=["ESZ9", "CLZ9-CLF0"])
    tape = RecordedTape(str(tmp_path))
    assert tape.symbols(Market.FUTURES) == ["CLZ9-CLF0", "ESZ9"]
    assert [tape.market(symbol) for symbol in ("ESZ9", "CLZ9-CLF0", "ESH4", "AAPL")] == [Market.FUTURES] * 3 + [
        Market.STOCKS
    ]
    partition = Partition(DAY, Market.FUTURES)
    with serving(tape, clock=Clock(partition.session.day_end + 86_400 * 10**9)) as url:
        source = RestSource(url, "advanced-test", {Market.FUTURES: "advanced"})
        served = pl.concat(source.trades(partition, ["ESZ9"]))
    expected = tape.trades("ESZ9", DAY)
    assert served.height == expected.height > 1000
    assert served["price"].equals(expected["price"])


def test_files_of_options_are_served(tmp_path: Path) -> None:
    write_days(tmp_path, Market.OPTIONS, [DAY], symbols=["O:AAPL291221C00190000"])
    tape = RecordedTape(str(tmp_path))
    assert tape.symbols(Market.OPTIONS) == ["O:AAPL291221C00190000"]
    assert tape.trades("O:AAPL291221C00190000", DAY).height > 100
    assert tape.bars("O:AAPL291221C00190000", DAY).height > 50
