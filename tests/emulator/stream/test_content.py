"""The streams send exactly what the tape holds, in order of release and at the requested speed."""

import datetime as dt
import gzip
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from polygon import RESTClient

from tapewatch.emulator.stream.channels import CHANNELS
from tapewatch.emulator.stream.pace import ReplayClock, Speed
from tapewatch.emulator.stream.playback import Replay
from tapewatch.emulator.tape.market_tape import SyntheticTape
from tapewatch.emulator.tape.recorded import RecordedTape
from tapewatch.market.instruments import Market, session_of
from tests.support.emulator import serving
from tests.support.flat_days import CRYPTO, FOREX, HEADERS, INDICES, OPTIONS, STOCKS, put, row
from tests.support.stream_client import PATIENCE_S, listened, progress

DAY = dt.date(2024, 3, 5)
NS_PER_MS = 1_000_000

FIELDS = {
    ("stocks", "T"): {"ev", "sym", "x", "i", "z", "p", "s", "ds", "c", "t", "q", "trfi", "trft"},
    ("stocks", "Q"): {"ev", "sym", "bx", "bp", "bs", "ax", "ap", "as", "c", "t", "z", "q"},
    ("stocks", "A"): {"ev", "sym", "v", "av", "dv", "dav", "op", "vw", "o", "c", "h", "l", "a", "z", "s", "e"},
    ("stocks", "AM"): {"ev", "sym", "v", "av", "dv", "dav", "op", "vw", "o", "c", "h", "l", "a", "z", "s", "e"},
    ("stocks", "LULD"): {"ev", "T", "h", "l", "i", "z", "t", "q"},
    ("stocks", "NOI"): {"ev", "T", "t", "at", "a", "i", "x", "o", "p", "b"},
    ("options", "T"): {"ev", "sym", "x", "p", "s", "c", "t", "q"},
    ("options", "Q"): {"ev", "sym", "bx", "ax", "bp", "ap", "bs", "as", "t", "q"},
    ("options", "A"): {"ev", "sym", "v", "av", "op", "vw", "o", "c", "h", "l", "a", "z", "s", "e"},
    ("options", "AM"): {"ev", "sym", "v", "av", "op", "vw", "o", "c", "h", "l", "a", "z", "s", "e"},
    ("forex", "C"): {"ev", "p", "x", "a", "b", "t"},
    ("forex", "CA"): {"ev", "pair", "o", "c", "h", "l", "v", "s", "e"},
    ("forex", "CAS"): {"ev", "pair", "o", "c", "h", "l", "v", "s", "e"},
    ("crypto", "XT"): {"ev", "pair", "p", "t", "s", "c", "i", "x", "r"},
    ("crypto", "XQ"): {"ev", "pair", "bp", "bs", "ap", "as", "t", "x", "r"},
    ("crypto", "XA"): {"ev", "pair", "o", "c", "h", "l", "v", "s", "e", "vw", "z"},
    ("crypto", "XAS"): {"ev", "pair", "o", "c", "h", "l", "v", "s", "e", "vw", "z"},
    ("crypto", "XL2"): {"ev", "pair", "b", "a", "t", "x", "r"},
    ("indices", "V"): {"ev", "val", "T", "t"},
    ("indices", "A"): {"ev", "sym", "op", "o", "c", "h", "l", "s", "e"},
    ("indices", "AM"): {"ev", "sym", "op", "o", "c", "h", "l", "s", "e"},
    ("futures", "T"): {"ev", "sym", "p", "s", "t", "q"},
    ("futures", "Q"): {"ev", "sym", "bp", "bs", "bt", "ap", "as", "at", "t"},
    ("futures", "A"): {"ev", "sym", "v", "dv", "o", "c", "h", "l", "n", "s", "e"},
    ("futures", "AM"): {"ev", "sym", "v", "dv", "o", "c", "h", "l", "n", "s", "e"},
}
SYMBOL = {
    "stocks": "VOO", "options": "O:AAPL291221P00190000", "forex": "C:GBP-USD", "crypto": "X:DOT-USD",
    "indices": "I:SPX", "futures": "ESZ9",
}  # fmt: skip
SPELT = {"forex": "GBP/USD", "crypto": "DOT-USD"}
TICKS = {"T": "trades", "XT": "trades", "Q": "quotes", "XQ": "quotes", "C": "quotes", "V": "prices"}
PRICE = {"T": "p", "XT": "p", "Q": "bp", "XQ": "bp", "C": "b", "V": "val"}


@pytest.fixture(scope="module")
def tape() -> SyntheticTape:
    return SyntheticTape(7)


@pytest.fixture(scope="module")
def url(tape: SyntheticTape) -> Iterator[str]:
    with serving(tape, replay=str(DAY)) as address:
        yield address


def ms(frame: pl.DataFrame, column: str = "time") -> list[int]:
    return (frame[column].to_physical() // NS_PER_MS).to_list()


@pytest.mark.slow
@pytest.mark.parametrize("market", list(SYMBOL))
def test_a_day_arrives_completely_and_in_order(tape: SyntheticTape, url: str, market: str) -> None:
    channels = [channel for of_market, channel in FIELDS if of_market == market]
    symbol = SYMBOL[market]
    name = SPELT.get(market, symbol)
    received = listened(url, market, ",".join(f"{channel}.{name}" for channel in channels), key=f"{market}-whole")
    for channel in channels:
        events = received.of(channel)
        assert set().union(*events) == FIELDS[market, channel]
        assert {event.get("sym") or event.get("pair") or event.get("T") or event.get("p") for event in events} == {name}
        if channel in TICKS:
            rows = getattr(tape, TICKS[channel])(symbol, DAY)
            assert [event["t"] for event in events] == ms(rows)
            price = "price" if TICKS[channel] != "quotes" else "bid_price"
            assert [event[PRICE[channel]] for event in events] == rows[price].to_list()
        elif channel in ("AM", "XA", "CA"):
            bars = tape.bars(symbol, DAY)
            assert [event["s"] for event in events] == ms(bars)
            assert [event["c"] for event in events] == bars["close"].to_list()
    released = [event.get("e") or event["t"] for event in received.events if event["ev"] not in ("LULD", "NOI")]
    assert released == sorted(released)


def test_times_have_the_units_of_the_vendor_s_examples(url: str) -> None:
    received = listened(url, "stocks", "LULD.VOO,NOI.VOO", key="units")
    start = int(dt.datetime(2024, 3, 5, tzinfo=dt.UTC).timestamp())
    for channel, unit in (("LULD", 10**6), ("NOI", 10**9)):
        assert all(0 <= event["t"] // unit - start < 86_400 * 1.5 for event in received.of(channel))
        assert received.of(channel)


def test_a_bar_contains_the_day_s_totals(tape: SyntheticTape, url: str) -> None:
    last = listened(url, "stocks", "AM.AAPL", key="day-so-far").of("AM")[-1]
    bars = tape.bars("AAPL", DAY)
    assert last["av"] == bars["volume"].sum()
    assert last["a"] == pytest.approx((bars["vwap"] * bars["volume"]).sum() / bars["volume"].sum(), rel=1e-4)


def test_rest_serves_every_market(tape: SyntheticTape, url: str) -> None:
    client, text = RESTClient("k", base=url, retries=0), str(DAY)
    quotes = client.list_quotes("C:EURUSD", timestamp=text, limit=50_000, order="asc")
    assert [quote.bid_price for quote in quotes] == tape.quotes("C:EUR-USD", DAY)["bid_price"].to_list()
    contract = SYMBOL["options"]
    trades = list(client.list_trades(contract, timestamp=text, limit=50_000, order="asc"))
    assert [trade.price for trade in trades] == tape.trades(contract, DAY)["price"].to_list()
    assert len(client.get_aggs("I:SPX", 1, "minute", text, text)) == 405
    assert client.get_options_contract(contract).contract_type == "put"
    assert list(client.list_trades("ESZ9", timestamp=text)) == []


def test_futures_have_addresses_of_their_own(tape: SyntheticTape, url: str) -> None:
    client = RESTClient("k", base=url, retries=0)
    day = session_of(Market.FUTURES, DAY)
    assert day is not None
    ticks = {"timestamp_gte": str(day.day_start), "timestamp_lt": str(day.day_end), "sort": "timestamp.asc"}
    trades = list(client.list_futures_trades("ESZ9", limit=7_000, **ticks))
    assert [trade.timestamp for trade in trades] == tape.trades("ESZ9", DAY)["time"].to_physical().to_list()
    assert {trade.session_end_date for trade in trades} == {str(DAY)}
    quotes = list(client.list_futures_quotes("ESZ9", limit=50_000, **ticks))
    assert [quote.ask_price for quote in quotes] == tape.quotes("ESZ9", DAY)["ask_price"].to_list()
    bars = list(
        client.list_futures_aggregates(
            "ESZ9", resolution="1min", window_start_gte=str(day.day_start), window_start_lt=str(day.day_end),
            sort="window_start.asc", limit=500,
        )
    )  # fmt: skip
    assert [bar.volume for bar in bars] == tape.bars("ESZ9", DAY)["volume"].to_list()
    assert client.get_futures_contract_details("ESZ9").trading_venue == "XCME"


def test_a_rate_is_kept(tape: SyntheticTape) -> None:
    with serving(tape, replay=str(DAY), speed="10000eps") as url:
        start = time.monotonic()
        received = listened(url, "crypto", "XT.DOT-USD")
        took = time.monotonic() - start
    assert len(received.events) / 10_000 <= took < len(received.events) / 10_000 + PATIENCE_S


def test_a_multiple_of_real_time_is_kept(tape: SyntheticTape) -> None:
    # The 6.75 hours in which indices are published, in 1.35 seconds.
    with serving(tape, replay=str(DAY), speed="18000") as url:
        start = time.monotonic()
        received = listened(url, "indices", "V.I:SPX")
        took = time.monotonic() - start
    assert len(received.events) == 24_300
    assert 1.3 <= took < PATIENCE_S


def test_the_clock_skips_the_night() -> None:
    days = [session_of(Market.INDICES, DAY + dt.timedelta(days=offset)) for offset in (0, 1)]
    sessions = [day for day in days if day is not None]
    now = [0]
    clock = ReplayClock(sessions, 2.0, lambda: 0, lambda: now[0])
    clock.start()
    length = sessions[0].extended_end - sessions[0].extended_start + 10**9
    for passed, expected in (
        (0, sessions[0].extended_start),
        (length // 4, sessions[0].extended_start + length // 2),
        (length // 2, sessions[1].extended_start),
        (length // 2 + 10, sessions[1].extended_start + 20),
    ):
        now[0] = passed
        assert clock.now == expected


@pytest.mark.parametrize(("text", "spelt"), [("1", "1"), ("60x", "60"), ("max", "max"), ("50000eps", "50000eps")])
def test_speeds_are_parsed(text: str, spelt: str) -> None:
    assert str(Speed.parse(text)) == spelt


@pytest.mark.parametrize("text", ["0", "-1", "fast", "10 eps", ""])
def test_invalid_speeds_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="speed"):
        Speed.parse(text)


@pytest.mark.parametrize("text", ["yesterday", "2024-03-05:2024-03-04", ""])
def test_invalid_days_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="days"):
        Replay.parse(text)


def test_recorded_crypto_quotes_and_bars_are_streamed(tmp_path: Path) -> None:
    quotes = "ticker,ask_exchange,ask_price,ask_size,bid_exchange,bid_price,bid_size,participant_timestamp\n"
    bars = "ticker,volume,open,close,high,low,window_start,transactions\n"
    start = int(dt.datetime(2024, 3, 5, tzinfo=dt.UTC).timestamp()) * 10**9
    for minute in range(3):
        at = start + minute * 60 * 10**9
        quotes += f"X:LTC-USD,1,{101 + minute},2.5,1,{100 + minute},1.5,{at}\n"
        bars += f"X:LTC-USD,{minute + 1}.5,100,101,102,99,{at},\n"
    for folder, text in (("quotes_v1", quotes), ("minute_aggs_v1", bars)):
        path = tmp_path / "global_crypto" / folder / "2024/03/2024-03-05.csv.gz"
        path.parent.mkdir(parents=True)
        path.write_bytes(gzip.compress(text.encode()))
    with serving(RecordedTape(str(tmp_path))) as url:
        received = listened(url, "crypto", "XQ.*,XA.*,XT.*")
    assert [event["bp"] for event in received.of("XQ")] == [100, 101, 102]
    assert [event["v"] for event in received.of("XA")] == [1.5, 2.5, 3.5]
    assert [event["ev"] for event in received.events] == ["XQ", "XA", "XQ", "XA", "XQ", "XA"]


@pytest.mark.long
def test_every_market_with_files_is_streamed_from_them(tmp_path: Path) -> None:
    named = {STOCKS: "MSFT", OPTIONS: "O:SPY240419C00500000", FOREX: "C:EUR-USD", CRYPTO: "X:LTC-USD", INDICES: "I:SPX"}
    for day, ticker in named.items():
        for table in ("trades", "quotes", "bars"):
            if (day.market, table) in HEADERS:
                put(
                    tmp_path,
                    day,
                    table,
                    [row(day, table, 60 * n, ticker=ticker, id=n, sequence_number=n) for n in (1, 2, 3)],
                )
    with serving(RecordedTape(str(tmp_path))) as url:
        counts = {}
        for market, channels in CHANNELS.items():
            # Quotes of options need single contracts.
            of = named[OPTIONS] if market is Market.OPTIONS else "*"
            received = listened(url, market, ",".join(f"{channel}.{of}" for channel in channels))
            counts[str(market)] = Counter(event["ev"] for event in received.events)
    assert counts == {
        "stocks": {"T": 3, "Q": 3, "A": 3, "AM": 3},
        "options": {"T": 3, "Q": 3, "A": 3, "AM": 3},
        "forex": {"C": 3, "CA": 3, "CAS": 3},
        "crypto": {"XT": 3, "XA": 3, "XAS": 3},
        "indices": {"V": 3, "AM": 3},
        "futures": {},
    }


@pytest.mark.slow
@pytest.mark.real_tape
def test_recorded_days_arrive_completely(market_data: Path) -> None:
    with serving(RecordedTape(str(market_data))) as url:
        counts = {
            market: len(listened(url, market, channels).events)
            for market, channels in (("indices", "AM.*"), ("crypto", "XA.*"), ("forex", "C.*"))
        }
        assert progress(url, "forex")["is_done"]
    assert counts == {"indices": 1_812, "crypto": 15_386, "forex": 174_064}
