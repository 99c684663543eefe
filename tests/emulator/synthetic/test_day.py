"""A synthetic day fits its tables, is reproducible, and lies within its market's hours."""

import datetime as dt
import hashlib
import json
import subprocess
import sys
from itertools import pairwise

import polars as pl
import pytest

from tapewatch.emulator.synthetic.market import Synthetic, TapeDay
from tapewatch.emulator.synthetic.universe import DEFAULT
from tapewatch.market.instruments import Market, market_of, session_of
from tapewatch.market.tables.tape import QUOTES, TRADES

DAY = dt.date(2024, 3, 5)
TRADED = [symbol for symbol, one in DEFAULT.items() if one.market in (Market.STOCKS, Market.CRYPTO)]
SYMBOLS = [*TRADED, "SYN001", "SYN999"]


def digest(day: TapeDay) -> str:
    texts = (frame.write_csv() for frame in (day.trades, day.quotes, day.truth))
    return hashlib.sha256("".join(texts).encode()).hexdigest()


def ns(frame: pl.DataFrame) -> list[int]:
    return frame["time"].to_physical().to_list()


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_a_day_fits_its_tables(symbol: str) -> None:
    day = Synthetic(3).day(symbol, DAY)
    session = session_of(market_of(symbol), DAY)
    assert session is not None
    for table, frame in ((TRADES, day.trades), (QUOTES, day.quotes)):
        table.check(frame)
        assert table.duplicates(frame) == 0
        assert frame.height > 2000
        times = ns(frame)
        assert times == sorted(times)
        assert session.extended_start <= times[0]
        assert times[-1] < session.extended_end
        assert frame["sequence_number"].is_sorted()
        assert frame["symbol"].unique().to_list() == [symbol]
    assert 2 <= day.truth.height <= 4


@pytest.mark.long
def test_a_day_does_not_depend_on_earlier_requests() -> None:
    first, second = Synthetic(3), Synthetic(3)
    asked = [(symbol, day) for symbol in ("AAPL", "X:BTC-USD") for day in (DAY, DAY + dt.timedelta(days=1))]
    there = {key: digest(first.day(*key)) for key in asked}
    back = {key: digest(second.day(*key)) for key in reversed(asked)}
    assert there == back
    assert len(set(there.values())) == len(asked)


@pytest.mark.slow
def test_another_process_generates_the_same_tape() -> None:
    program = (
        "import datetime as dt, json, sys\n"
        "from tapewatch.emulator.synthetic.market import Synthetic\n"
        "day = Synthetic(3).day('SYN007', dt.date(2024, 3, 5))\n"
        "json.dump([day.trades['price'].to_list(), day.quotes['time'].to_physical().to_list()], sys.stdout)\n"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=300)
    day = Synthetic(3).day("SYN007", DAY)
    assert json.loads(answer.stdout) == [day.trades["price"].to_list(), ns(day.quotes)]


@pytest.mark.parametrize(
    ("symbol", "expected"),
    [
        ("SYN001", "3d2f0bcb673fa5bf25801d0170da4db98c13db58812f450d84fe59a6ff50c499"),  # pragma: allowlist secret
        ("X:DOT-USD", "3dc85a1c58337801e2b07cb0da3772d78366741ba3cee3690872f1639a46afa0"),  # pragma: allowlist secret
    ],
)
def test_every_machine_generates_the_same_tape(symbol: str, expected: str) -> None:
    # Only a deliberate change of the generator may change these; another processor, numpy or numba must not.
    day, found = Synthetic(1).day(symbol, DAY, trades=2000), hashlib.sha256()
    for frame, price in ((day.trades, "price"), (day.quotes, "bid_price")):
        for column in ("time", "sequence_number", price):
            found.update(frame[column].to_physical().to_numpy().tobytes())
    assert found.hexdigest() == expected


def test_another_seed_generates_another_tape() -> None:
    assert digest(Synthetic(3).day("AAPL", DAY)) != digest(Synthetic(4).day("AAPL", DAY))


def test_an_anomaly_changes_nothing_before_it() -> None:
    with_them, without = Synthetic(3).day("MSFT", DAY), Synthetic(3, has_anomalies=False).day("MSFT", DAY)
    first = with_them.truth["start_time"].min()
    assert without.truth.is_empty()
    # Orders anticipate the price by a few seconds.
    quiet = pl.col("time") < first - dt.timedelta(seconds=30)
    assert with_them.quotes.filter(quiet).equals(without.quotes.filter(quiet))
    assert not with_them.quotes.equals(without.quotes)


@pytest.mark.parametrize("symbol", ["NOPE", "X:NOPE-USD", "SYN000", "SYN1000", "C:XXX-USD", "O:AAPL240315C00190000"])
def test_an_unknown_symbol_has_empty_days(symbol: str) -> None:
    day = Synthetic(3).day(symbol, DAY)
    assert (day.trades.height, day.quotes.height, day.truth.height) == (0, 0, 0)
    assert day.trades.schema == TRADES.schema


@pytest.mark.parametrize("date", [dt.date(2024, 3, 9), dt.date(2024, 7, 4), dt.date(2003, 9, 9), dt.date(1900, 1, 1)])
def test_a_closed_day_is_empty(date: dt.date) -> None:
    assert Synthetic(3).day("AAPL", date).trades.is_empty()


def test_a_half_day_ends_early_and_is_smaller() -> None:
    half, full = (
        Synthetic(3, has_anomalies=False).day("AAPL", d) for d in (dt.date(2024, 11, 29), dt.date(2024, 11, 27))
    )
    session = session_of(Market.STOCKS, dt.date(2024, 11, 29))
    assert session is not None
    assert session.regular_minutes == 210
    assert max(ns(half.trades)) < session.extended_end
    assert 0.45 < half.trades.height / full.trades.height < 0.65
    closing = half.trades.filter(pl.col("conditions").cast(pl.String) == "8,41")
    assert closing.height == 1
    assert 0 <= ns(closing)[0] - session.regular_end < 1_000_000_000


@pytest.mark.parametrize(("date", "opens"), [(dt.date(2024, 3, 8), "14:30"), (dt.date(2024, 3, 11), "13:30")])
def test_daylight_saving_moves_the_auction_in_utc(date: dt.date, opens: str) -> None:
    trades = Synthetic(3).day("AAPL", date).trades
    auction = trades.filter(pl.col("conditions").cast(pl.String) == "25,41")
    assert auction["time"].dt.strftime("%H:%M").to_list() == [opens]


def test_prices_continue_from_day_to_day() -> None:
    market = Synthetic(3)
    friday, saturday = (market.day("X:BTC-USD", d).quotes for d in (dt.date(2024, 3, 8), dt.date(2024, 3, 9)))
    assert saturday["bid_price"][0] / friday["bid_price"][-1] == pytest.approx(1, abs=0.002)
    gaps = []
    days = [dt.date(2024, 3, d) for d in (4, 5, 6, 7, 8)]
    for before, after in pairwise(days):
        close, open_ = (
            market.day("VOO", before).quotes["bid_price"][-1],
            market.day("VOO", after).quotes["bid_price"][0],
        )
        gaps.append(abs(open_ / close - 1))
    assert max(gaps) < 0.03


@pytest.mark.parametrize("symbol", ["AAPL", "X:DOGE-USD"])
def test_prices_stay_near_their_level_for_decades(symbol: str) -> None:
    days = [dt.date(year, 6, 5) for year in (2014, 2015, 2018, 2019, 2020, 2023, 2024, 2025)]
    levels = [Synthetic(11).day(symbol, day, trades=500).quotes["bid_price"].median() for day in days]
    ratios = [level / DEFAULT[symbol].price for level in levels if isinstance(level, float)]
    assert len(ratios) == len(days)
    assert all(0.1 < ratio < 10 for ratio in ratios)


@pytest.mark.parametrize("trades", [2_000, 100_000])
def test_a_day_has_about_the_requested_number_of_trades(trades: int) -> None:
    day = Synthetic(3, has_anomalies=False).day("SYN042", DAY, trades=trades)
    assert day.trades.height == pytest.approx(trades, rel=0.05)
    assert day.quotes.height == pytest.approx(3 * trades, rel=0.1)


def test_activity_must_be_positive() -> None:
    with pytest.raises(ValueError, match="activity"):
        Synthetic(3, activity=0)
