"""The official client's calls for the present: last trades and quotes, snapshots, ticker details, open and close."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from polygon import RESTClient
from polygon.exceptions import BadResponse

from tapewatch.emulator.synthetic.market import Synthetic, TapeDay
from tapewatch.emulator.tape.market_tape import SyntheticTape
from tapewatch.emulator.tape.recorded import RecordedTape
from tapewatch.market.instruments import Market, session_of
from tests.support.emulator import serving
from tests.support.flat_days import STOCKS, put, row

SEED = 21
#: The emulator's present: 15:00 in New York.
TODAY, NOW = dt.date(2024, 3, 8), dt.datetime(2024, 3, 8, 20, tzinfo=dt.UTC)
YESTERDAY = dt.date(2024, 3, 7)


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with serving(SyntheticTape(SEED)) as url:
        yield url


@pytest.fixture(scope="module")
def client(base_url: str) -> RESTClient:
    return RESTClient("any-key", base=base_url, retries=0)


@pytest.fixture(scope="module")
def voo() -> TapeDay:
    day = Synthetic(SEED).day("VOO", TODAY)
    return TapeDay(day.trades.filter(pl.col("time") < NOW), day.quotes.filter(pl.col("time") < NOW), day.truth)


def ns(frame: pl.DataFrame) -> int:
    return int(frame["time"].to_physical()[-1])


def test_the_last_trade_and_quote(client: RESTClient, voo: TapeDay) -> None:
    trade, last = client.get_last_trade("VOO"), voo.trades.row(-1, named=True)
    assert (trade.ticker, trade.sip_timestamp, trade.price) == ("VOO", ns(voo.trades), last["price"])
    assert (trade.size, trade.exchange, trade.id) == (last["size"], last["exchange"], last["id"])
    assert trade.sequence_number == last["sequence_number"]
    quote, last = client.get_last_quote("VOO"), voo.quotes.row(-1, named=True)
    assert (quote.ticker, quote.sip_timestamp) == ("VOO", ns(voo.quotes))
    for side in ("bid", "ask"):
        for what in ("price", "size", "exchange"):
            assert getattr(quote, f"{side}_{what}") == last[f"{side}_{what}"]


def test_the_last_trade_and_quote_of_a_pair_and_of_contracts(client: RESTClient) -> None:
    coin = client.get_last_crypto_trade("DOT", "USD")
    rows = Synthetic(SEED).day("X:DOT-USD", TODAY).trades.filter(pl.col("time") < NOW)
    assert (coin.price, coin.timestamp) == (rows["price"][-1], ns(rows) // 10**6)
    money = client.get_last_forex_quote("GBP", "USD")
    quotes = Synthetic(SEED).day("C:GBP-USD", TODAY).quotes.filter(pl.col("time") < NOW)
    assert (money.last.bid, money.last.ask) == quotes.select("bid_price", "ask_price").row(-1)
    option = "O:AAPL291221P00190000"
    assert client.get_last_trade(option).ticker == option
    assert client.get_last_quote(option).ask_price > 0
    for call in (client.get_last_trade, client.get_last_quote):
        with pytest.raises(BadResponse, match="NOT_FOUND"):
            call("NOPE")


def test_the_snapshot_of_a_ticker(client: RESTClient, voo: TapeDay) -> None:
    seen = client.get_snapshot_ticker("stocks", "VOO")
    (yesterday,) = client.get_aggs("VOO", 1, "day", str(YESTERDAY), str(YESTERDAY))
    minutes = client.get_aggs("VOO", 1, "minute", str(TODAY), str(TODAY), limit=50_000)
    assert (seen.prev_day.close, seen.prev_day.volume) == (yesterday.close, yesterday.volume)
    assert seen.min.close == minutes[-1].close
    assert seen.min.timestamp == minutes[-1].timestamp <= NOW.timestamp() * 1000 - 60_000
    assert seen.day.volume == sum(bar.volume for bar in minutes) == seen.min.accumulated_volume
    assert seen.last_trade.price == voo.trades["price"][-1]
    assert seen.last_quote.bid_price == voo.quotes["bid_price"][-1]
    assert seen.todays_change == pytest.approx(seen.last_trade.price - yesterday.close)
    assert seen.todays_change_percent == pytest.approx(100 * seen.todays_change / yesterday.close, abs=1e-3)
    with pytest.raises(BadResponse, match="NotFound"):
        client.get_snapshot_ticker("stocks", "X:BTCUSD")


def test_the_snapshots_of_a_market(client: RESTClient) -> None:
    stocks = {seen.ticker: seen for seen in client.get_snapshot_all("stocks")}
    assert list(stocks) == ["AAPL", "GOOGL", "MSFT", "TSLA", "VOO"]
    two = client.get_snapshot_all("stocks", tickers=["VOO", "NOPE", "AAPL"])
    assert [seen.ticker for seen in two] == ["VOO", "AAPL"]
    assert two[0].day == stocks["VOO"].day
    crypto = client.get_snapshot_all("crypto", tickers="X:BTCUSD")
    assert (crypto[0].ticker, crypto[0].last_trade.conditions[0] in (1, 2)) == ("X:BTCUSD", True)
    assert {seen.ticker for seen in client.get_snapshot_all("forex")} == {"C:EURUSD", "C:GBPUSD", "C:USDJPY"}
    changes = {ticker: seen.todays_change_percent for ticker, seen in stocks.items()}
    for direction, sign in (("gainers", 1), ("losers", -1)):
        ranked = sorted((t for t in changes if sign * changes[t] > 0), key=lambda t, s=sign: -s * changes[t])
        assert [seen.ticker for seen in client.get_snapshot_direction("stocks", direction)] == ranked


def test_universal_snapshots(client: RESTClient) -> None:
    names = ["AAPL", "C:EURUSD", "I:SPX", "NOPE", "O:AAPL291221P00190000", "X:BTCUSD"]
    found = {seen.ticker: seen for seen in client.list_universal_snapshots(ticker_any_of=names, limit=4)}
    assert list(found) == names
    assert [found[name].type for name in names if name != "NOPE"] == ["stocks", "fx", "indices", "options", "crypto"]
    assert found["NOPE"].error == "NOT_FOUND"
    assert found["AAPL"].last_trade.price == found["AAPL"].session.price
    assert found["AAPL"].market_status == "open"
    assert found["AAPL"].session.previous_close == client.get_snapshot_ticker("stocks", "AAPL").prev_day.close
    assert (found["O:AAPL291221P00190000"].details.strike_price, found["I:SPX"].last_trade) == (190.0, None)
    crypto = [seen.ticker for seen in client.list_universal_snapshots(type="crypto", limit=2, order="desc")]
    assert crypto == sorted(crypto, reverse=True)
    assert len(crypto) == 6
    (spx,) = client.get_snapshot_indices(["I:SPX"])
    assert (spx.ticker, spx.value > 0) == ("I:SPX", True)
    assert spx.session.low <= spx.value <= spx.session.high


def test_ticker_details(client: RESTClient) -> None:
    apple, bitcoin = client.get_ticker_details("AAPL"), client.get_ticker_details("X:BTCUSD")
    assert (apple.ticker, apple.market, apple.primary_exchange, apple.active) == ("AAPL", "stocks", "XNAS", True)
    assert (bitcoin.base_currency_symbol, bitcoin.currency_symbol, bitcoin.locale) == ("BTC", "USD", "global")
    assert client.get_ticker_details("SYN042").name == "Synthetic Company 042"
    with pytest.raises(BadResponse, match="NOT_FOUND"):
        client.get_ticker_details("NOPE")


def test_the_open_and_close_of_a_day(client: RESTClient) -> None:
    day = client.get_daily_open_close_agg("VOO", str(YESTERDAY))
    (bar,) = client.get_aggs("VOO", 1, "day", str(YESTERDAY), str(YESTERDAY))
    assert (day.symbol, day.from_, day.status) == ("VOO", str(YESTERDAY), "OK")
    assert (day.open, day.high, day.low, day.close) == (bar.open, bar.high, bar.low, bar.close)
    assert day.volume == bar.volume
    session = session_of(Market.STOCKS, YESTERDAY)
    assert session is not None
    minutes = client.get_aggs("VOO", 1, "minute", str(YESTERDAY), str(YESTERDAY), limit=50_000)
    assert day.pre_market == minutes[0].open
    assert minutes[-1].timestamp * 10**6 >= session.regular_end
    assert day.after_hours == minutes[-1].close
    for date in (str(TODAY), "2024-03-09"):
        with pytest.raises(BadResponse, match="NOT_FOUND"):
            client.get_daily_open_close_agg("VOO", date)


def test_a_plan_limits_what_is_seen(base_url: str) -> None:
    starter, developer, basic = (
        RESTClient(f"{tier}-snap", base=base_url, retries=0) for tier in ("starter", "developer", "basic")
    )
    for call in (starter.get_last_trade, starter.get_last_quote, developer.get_last_quote):
        with pytest.raises(BadResponse, match="NOT_AUTHORIZED"):
            call("VOO")
    late = NOW.timestamp() * 10**9 - 15 * 60 * 10**9
    assert late - 60 * 10**9 < developer.get_last_trade("VOO").sip_timestamp < late
    seen = starter.get_snapshot_ticker("stocks", "VOO")
    assert (seen.last_trade, seen.last_quote) == (None, None)
    assert seen.min.timestamp * 10**6 <= late - 60 * 10**9
    assert developer.get_snapshot_ticker("stocks", "VOO").last_trade.price > 0
    # The end-of-day plan sees no part of today.
    (bar,) = basic.get_aggs("VOO", 1, "day", str(YESTERDAY), str(YESTERDAY))
    assert basic.get_snapshot_ticker("stocks", "VOO").day.volume == bar.volume


def test_recorded_bars_without_trades(tmp_path: Path) -> None:
    bars = [row(STOCKS, "bars", 60 * i, volume=10 + i) for i in range(5)]
    put(tmp_path, STOCKS, "bars", bars)
    with serving(RecordedTape(str(tmp_path))) as url:
        recorded = RESTClient("k", base=url, retries=0)
        symbol = str(bars[0]["ticker"])
        (day,) = recorded.get_aggs(symbol, 1, "day", str(STOCKS.date), str(STOCKS.date))
        assert day.volume == sum(range(10, 15))
        assert recorded.get_ticker_details(symbol).market == "stocks"
