"""The unmodified official client reads from the emulator exactly what the tape holds, page by page."""

import datetime as dt
import json
from collections.abc import Iterator

import polars as pl
import pytest
from polygon import RESTClient
from polygon.exceptions import BadResponse

from tapewatch.bars.time_bars import minute_bars
from tapewatch.emulator.rest import encode
from tapewatch.emulator.stream import messages
from tapewatch.emulator.synthetic.market import Synthetic, TapeDay
from tapewatch.emulator.tape.market_tape import SyntheticTape
from tapewatch.feeds.stream.decode.decoder import Frame, FrameDecoder
from tapewatch.market.conditions import STOCK_UPDATE_RULES, Updates
from tapewatch.market.instruments import Market, session_of
from tests.support import ask
from tests.support.emulator import serving

SEED = 21
DAY = dt.date(2024, 3, 5)
TEXT = str(DAY)


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with serving(SyntheticTape(SEED)) as url:
        yield url


@pytest.fixture(scope="module")
def client(base_url: str) -> RESTClient:
    return RESTClient("any-key", base=base_url, retries=0)


@pytest.fixture(scope="module")
def voo() -> TapeDay:
    return Synthetic(SEED).day("VOO", DAY)


def ns(frame: pl.DataFrame) -> list[int]:
    return frame["time"].to_physical().to_list()


@pytest.mark.parametrize("limit", [999, 50_000])
@pytest.mark.parametrize("order", ["asc", "desc", None])
def test_trades(client: RESTClient, voo: TapeDay, limit: int, order: str | None) -> None:
    read = list(client.list_trades("VOO", timestamp=TEXT, limit=limit, order=order))
    if order != "asc":
        read.reverse()
    rows = voo.trades
    assert [trade.sequence_number for trade in read] == rows["sequence_number"].to_list()
    assert [trade.sip_timestamp for trade in read] == ns(rows)
    assert [trade.participant_timestamp for trade in read] == rows["participant_time"].to_physical().to_list()
    assert [trade.price for trade in read] == rows["price"].to_list()
    assert [trade.size for trade in read] == rows["size"].to_list()
    assert [trade.exchange for trade in read] == rows["exchange"].to_list()
    assert [trade.id for trade in read] == rows["id"].to_list()
    assert [trade.trf_id for trade in read] == rows["trf_id"].to_list()
    assert [trade.trf_timestamp for trade in read] == rows["trf_time"].to_physical().to_list()
    assert [trade.tape for trade in read] == rows["tape"].to_list()
    assert {trade.correction for trade in read} == {None}
    codes = [",".join(map(str, trade.conditions or [])) for trade in read]
    assert codes == rows["conditions"].cast(pl.String).to_list()


def test_sizes_with_a_fraction_are_sent_as_the_vendor_sends_them() -> None:
    tape = SyntheticTape(SEED)
    rows = tape.trades("VOO", DAY).head(3).with_columns(size=pl.Series([100.0, 0.25, 3.5]))
    sent = json.loads(f"[{encode.trades(rows, Market.STOCKS)}]")
    assert [(row["size"], row["decimal_size"]) for row in sent] == [(100, "100.0"), (0, "0.25"), (3, "3.5")]
    coins = tape.trades("X:DOT-USD", DAY).head(1).with_columns(size=pl.Series([0.25]))
    (coin,) = json.loads(f"[{encode.trades(coins, Market.CRYPTO)}]")
    assert (coin["size"], "decimal_size" in coin) == (0.25, False)
    events = json.loads("[" + "".join(streamed(rows)).rstrip(",") + "]")
    assert [(event["s"], event["ds"]) for event in events] == [(100, "100.0"), (0, "0.25"), (3, "3.5")]
    decoded = FrameDecoder(Market.STOCKS).decode([Frame(json.dumps(events).encode(), 1)])
    assert decoded.trades["size"].to_list() == [100.0, 0.25, 3.5]


def streamed(rows: pl.DataFrame) -> list[str]:
    return rows.select(messages.text(rows, "T", Market.STOCKS)).to_series().to_list()


@pytest.mark.long
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_quotes(client: RESTClient, voo: TapeDay, order: str) -> None:
    read = list(client.list_quotes("VOO", timestamp=TEXT, limit=7777, order=order))
    if order == "desc":
        read.reverse()
    rows = voo.quotes
    assert [quote.sequence_number for quote in read] == rows["sequence_number"].to_list()
    assert [quote.sip_timestamp for quote in read] == ns(rows)
    for side in ("bid", "ask"):
        for what in ("price", "size", "exchange"):
            name = f"{side}_{what}"
            assert [getattr(quote, name) for quote in read] == rows[name].to_list()
    assert {tuple(quote.conditions) for quote in read} == {(1,)}


def test_crypto_trades_and_quotes(client: RESTClient) -> None:
    day = Synthetic(SEED).day("X:DOT-USD", DAY)
    for ticker in ("X:DOTUSD", "X:DOT-USD"):
        read = list(client.list_trades(ticker, timestamp=TEXT, limit=50_000, order="asc"))
        assert [trade.participant_timestamp for trade in read] == ns(day.trades)
        assert [trade.size for trade in read] == day.trades["size"].to_list()
        assert {trade.conditions[0] for trade in read} == {1, 2}
        assert {(trade.sip_timestamp, trade.sequence_number) for trade in read} == {(None, None)}
    quotes = list(client.list_quotes("X:DOTUSD", timestamp=TEXT, limit=50_000, order="asc"))
    assert [quote.participant_timestamp for quote in quotes] == ns(day.quotes)
    assert [quote.bid_size for quote in quotes] == day.quotes["bid_size"].to_list()


def test_bounds_in_nanoseconds(client: RESTClient, voo: TapeDay) -> None:
    times = ns(voo.trades)
    low, high = times[100], times[200]
    inner = list(client.list_trades("VOO", timestamp_gt=low, timestamp_lt=high, order="asc"))
    outer = list(client.list_trades("VOO", timestamp_gte=low, timestamp_lte=high, order="asc"))
    one = list(client.list_trades("VOO", timestamp=low))
    assert [trade.sip_timestamp for trade in inner] == times[101:200]
    assert [trade.sip_timestamp for trade in outer] == times[100:201]
    assert [trade.sip_timestamp for trade in one] == [low]


def test_pages_span_days_and_closures(client: RESTClient) -> None:
    market = Synthetic(SEED)
    days = [dt.date(2024, 2, 16), dt.date(2024, 2, 20)]  # before and after Presidents' Day
    expected = [time for day in days for time in ns(market.day("VOO", day).trades)]
    read = client.list_trades("VOO", timestamp_gte="2024-02-16", timestamp_lte="2024-02-20", limit=5000, order="asc")
    assert [trade.sip_timestamp for trade in read] == expected


def test_without_bounds_the_newest_trades_come_first(client: RESTClient) -> None:
    newest = [trade.sip_timestamp for trade, _ in zip(client.list_trades("VOO"), range(1500), strict=False)]
    now = dt.datetime(2024, 3, 8, 20, tzinfo=dt.UTC)
    expected = [time for time in ns(Synthetic(SEED).day("VOO", now.date()).trades) if time <= now.timestamp() * 1e9]
    assert newest == expected[: -len(newest) - 1 : -1]


def test_minute_bars(client: RESTClient, voo: TapeDay) -> None:
    session = session_of(Market.STOCKS, DAY)
    assert session is not None
    expected = minute_bars(voo.trades, session)
    for limit in (100, 50_000):
        read = list(client.list_aggs("VOO", 1, "minute", TEXT, TEXT, limit=limit))
        assert [bar.timestamp * 1_000_000 for bar in read] == ns(expected)
        assert [bar.close for bar in read] == expected["close"].to_list()
        assert [bar.volume for bar in read] == expected["volume"].to_list()
        assert [bar.transactions for bar in read] == expected["transactions"].to_list()
    backwards = list(client.list_aggs("VOO", 1, "minute", TEXT, TEXT, limit=100, sort="desc"))
    assert [bar.timestamp for bar in backwards] == [bar.timestamp for bar in read][::-1]


def test_the_limit_counts_base_bars(client: RESTClient) -> None:
    minutes = list(client.list_aggs("AAPL", 1, "minute", TEXT, TEXT, limit=50_000))
    whole = client.get_aggs("AAPL", 1, "hour", TEXT, TEXT, limit=50_000)
    short = client.get_aggs("AAPL", 1, "hour", TEXT, TEXT, limit=150)
    paged = list(client.list_aggs("AAPL", 1, "hour", TEXT, TEXT, limit=150))
    assert paged == whole
    assert short == whole[: len(short)]
    assert 1 <= len(short) < len(whole)
    for hour in whole:
        part = [bar for bar in minutes if hour.timestamp <= bar.timestamp < hour.timestamp + 3_600_000]
        assert hour.open == part[0].open
        assert hour.high == max(bar.high for bar in part)
        assert hour.low == min(bar.low for bar in part)
        assert hour.close == part[-1].close
        assert hour.volume == sum(bar.volume for bar in part)


def test_prices_of_day_bars_exclude_extended_hours(client: RESTClient, voo: TapeDay) -> None:
    (bar,) = client.get_aggs("VOO", 1, "day", TEXT, TEXT)
    allowed = [
        [STOCK_UPDATE_RULES.get(int(code), Updates.EVERYTHING) for code in codes.split(",") if code]
        for codes in voo.trades["conditions"].cast(pl.String)
    ]
    prices = voo.trades["price"].to_list()
    opens = [p for p, rules in zip(prices, allowed, strict=True) if all(Updates.OPEN_CLOSE in rule for rule in rules)]
    highs = [p for p, rules in zip(prices, allowed, strict=True) if all(Updates.HIGH_LOW in rule for rule in rules)]
    sizes = [
        size
        for size, rules in zip(voo.trades["size"], allowed, strict=True)
        if all(Updates.VOLUME in rule for rule in rules)
    ]
    assert (bar.open, bar.close) == (opens[0], opens[-1])
    assert (bar.high, bar.low) == (max(highs), min(highs))
    assert bar.volume == sum(sizes)
    assert bar.transactions == len(sizes)
    assert bar.timestamp == int(dt.datetime(2024, 3, 5, 5, tzinfo=dt.UTC).timestamp()) * 1000


def test_day_bars_page_over_weekends(client: RESTClient) -> None:
    read = list(client.list_aggs("VOO", 1, "day", "2024-02-26", TEXT, limit=2))
    days = [dt.datetime.fromtimestamp(bar.timestamp / 1000, dt.UTC).date().day for bar in read]
    assert days == [26, 27, 28, 29, 1, 4, 5]
    weeks = client.get_aggs("VOO", 1, "week", "2024-02-26", TEXT)
    assert len(weeks) == 2
    assert weeks[0].volume == sum(bar.volume for bar in read[:5])


def test_second_bars(client: RESTClient, voo: TapeDay) -> None:
    start = int(dt.datetime(2024, 3, 5, 15, tzinfo=dt.UTC).timestamp()) * 1000
    read = list(client.list_aggs("VOO", 1, "second", start, start + 3_599_999, limit=50_000))
    (hour,) = client.get_aggs("VOO", 1, "hour", start, start + 3_599_999, limit=50_000)
    assert sum(bar.volume for bar in read) == hour.volume
    assert max(bar.high for bar in read) == hour.high
    assert read[-1].close == hour.close


def test_grouped_and_previous(client: RESTClient) -> None:
    grouped = {bar.ticker: bar for bar in client.get_grouped_daily_aggs(TEXT)}
    assert list(grouped) == ["AAPL", "GOOGL", "MSFT", "TSLA", "VOO"]
    (alone,) = client.get_aggs("MSFT", 1, "day", TEXT, TEXT)
    assert (grouped["MSFT"].close, grouped["MSFT"].volume) == (alone.close, alone.volume)
    crypto = client.get_grouped_daily_aggs(TEXT, locale="global", market_type="crypto")
    assert {bar.ticker for bar in crypto} == {f"X:{base}USD" for base in ("ADA", "BTC", "DOGE", "DOT", "ETH", "SOL")}
    (previous,) = client.get_previous_close_agg("MSFT")
    (thursday,) = client.get_aggs("MSFT", 1, "day", "2024-03-07", "2024-03-07")
    assert (previous.ticker, previous.close) == ("MSFT", thursday.close)
    assert client.get_grouped_daily_aggs("2024-03-09") == []


def test_a_reply_states_whether_prices_are_adjusted(base_url: str) -> None:
    for path in (f"/v2/aggs/grouped/locale/us/market/stocks/{TEXT}", "/v2/aggs/ticker/MSFT/prev"):
        for adjusted in (True, False):
            query = {"apiKey": "k", "adjusted": str(adjusted).lower()}  # pragma: allowlist secret
            assert ask.get(base_url + path, params=query, timeout=120).json()["adjusted"] is adjusted


def test_the_future_is_not_served(client: RESTClient) -> None:
    now = int(dt.datetime(2024, 3, 8, 20, tzinfo=dt.UTC).timestamp()) * 1000
    today = client.get_aggs("VOO", 1, "minute", "2024-03-08", "2024-03-08", limit=50_000)
    assert today[-1].timestamp <= now
    assert client.get_aggs("VOO", 1, "minute", "2024-03-11", "2024-03-11") == []
    assert list(client.list_trades("VOO", timestamp="2031-01-02")) == []


def test_reference_lists(client: RESTClient) -> None:
    names = {exchange.id: exchange for exchange in client.get_exchanges(asset_class="stocks")}
    assert names[12].mic == "XNAS"
    assert {4, 10, 11, 19} <= set(names)
    rules = {condition.id: condition for condition in client.list_conditions(asset_class="stocks", data_type="trade")}
    for code, allowed in STOCK_UPDATE_RULES.items():
        stated = rules[code].update_rules.consolidated
        assert stated.updates_open_close == (Updates.OPEN_CLOSE in allowed)
        assert stated.updates_high_low == (Updates.HIGH_LOW in allowed)
        assert stated.updates_volume == (Updates.VOLUME in allowed)
    crypto = {condition.id: condition.name for condition in client.list_conditions(asset_class="crypto")}
    assert crypto == {0: "None", 1: "Sell Side", 2: "Buy Side"}


def test_tickers_page_and_filter(client: RESTClient) -> None:
    stocks = [ticker.ticker for ticker in client.list_tickers(market="stocks", limit=2)]
    assert stocks == ["AAPL", "GOOGL", "MSFT", "TSLA", "VOO"]
    assert [ticker.ticker for ticker in client.list_tickers(market="stocks", limit=2, order="desc")] == stocks[::-1]
    (bitcoin,) = client.list_tickers(ticker="X:BTCUSD")
    assert (bitcoin.market, bitcoin.base_currency_symbol, bitcoin.currency_symbol) == ("crypto", "BTC", "USD")
    (unlisted,) = client.list_tickers(ticker="SYN042")
    assert unlisted.name == "Synthetic Company 042"
    assert [ticker.ticker for ticker in client.list_tickers(search="alphabet")] == ["GOOGL"]


def test_market_status(client: RESTClient) -> None:
    status = client.get_market_status()
    assert (status.market, status.exchanges.nyse, status.currencies.crypto) == ("open", "open", "open")
    assert not status.after_hours
    holidays = client.get_market_holidays()
    closed = {day.date for day in holidays if day.status == "closed"}
    assert {"2024-03-29", "2024-07-04", "2024-12-25"} <= closed
    early = {day.date: day.close for day in holidays if day.status == "early-close"}
    assert early["2024-11-29"] == "2024-11-29T18:00:00.000Z"


def test_an_unknown_symbol_is_no_error(client: RESTClient) -> None:
    assert list(client.list_trades("NOPE", timestamp=TEXT)) == []
    assert list(client.list_quotes("X:NOPE", timestamp=TEXT)) == []
    assert list(client.list_aggs("NOPE", 1, "minute", TEXT, TEXT)) == []
    assert client.get_previous_close_agg("NOPE") == []


@pytest.mark.parametrize(
    "call",
    [
        lambda c: next(c.list_trades("AAPL", timestamp="yesterday")),
        lambda c: next(c.list_trades("AAPL", limit=50_001)),
        lambda c: next(c.list_trades("AAPL", order="sideways")),
        lambda c: next(c.list_aggs("AAPL", 1, "fortnight", TEXT, TEXT)),
        lambda c: next(c.list_aggs("AAPL", 0, "minute", TEXT, TEXT)),
        lambda c: next(c.list_aggs("AAPL", 1, "minute", TEXT, "2024-03-04")),
        lambda c: next(c.list_aggs("AAPL", 1, "minute", 10**18, 10**18)),
        lambda c: next(c.list_aggs("AAPL", 1, "minute", -5, TEXT)),
        lambda c: next(c.list_trades("AAPL", params={"cursor": "bm90IG9uZQ"})),
        lambda c: next(c.list_trades("AAPL", params={"cursor": "%%%"})),
    ],
)
def test_an_invalid_parameter_is_refused(client: RESTClient, call) -> None:
    with pytest.raises(BadResponse, match='"status":"ERROR"'):
        call(client)
