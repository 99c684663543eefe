"""What a replay shows of each second, against trades and quotes counted one by one."""

import datetime as dt

import polars as pl
import pytest

from dashboard.reading.history import Histories
from dashboard.reading.replay import LONGEST, replay
from tapewatch.market.instruments import Market
from tapewatch.market.tables.tape import QUOTES, TRADES
from tapewatch.store.database.database import Database
from tapewatch.store.lake.lake import Lake
from tests.support.watched_home import BURST, DAY, START

END = BURST[0] + dt.timedelta(minutes=1)


@pytest.fixture
def histories(lake: Lake, database: Database) -> Histories:
    return Histories(lake, database)


def test_each_second_holds_its_trades_and_the_quote_that_stands(lake: Lake, histories: Histories) -> None:
    found = replay(lake, histories, Market.STOCKS, "AAPL", BURST[0], END)
    trades = lake.read(TRADES, DAY, symbols=["AAPL"]).filter(pl.col("time").is_between(BURST[0], END, closed="left"))
    quotes = lake.read(QUOTES, DAY, symbols=["AAPL"])
    assert found.source == "trades and quotes"
    assert found.seconds["time"].to_list() == [BURST[0].timestamp() + s for s in range(60)]
    for at, row in enumerate(found.seconds.iter_rows(named=True)):
        second = BURST[0] + dt.timedelta(seconds=at)
        own = trades.filter(pl.col("time") >= second, pl.col("time") < second + dt.timedelta(seconds=1))
        stood = quotes.filter(pl.col("time") < second + dt.timedelta(seconds=1)).sort("time")
        assert row["price"] == own.sort("time")["price"][-1]
        assert row["volume"] == pytest.approx(own["size"].sum())
        assert (row["bid"], row["ask"]) == (stood["bid_price"][-1], stood["ask_price"][-1])


def test_trades_that_were_withdrawn_and_empty_sides_are_not_shown(lake: Lake, histories: Histories) -> None:
    trades, quotes = lake.read(TRADES, DAY), lake.read(QUOTES, DAY)
    lake.write(TRADES, DAY, trades.with_columns(correction=pl.lit(8, pl.Int8)))
    lake.write(QUOTES, DAY, quotes.with_columns(bid_price=pl.lit(0.0)))
    found = replay(lake, histories, Market.STOCKS, "AAPL", BURST[0], END)
    assert found.source == "minute bars, each at its end, and quotes"
    assert found.seconds["bid"].is_nan().all()
    assert found.seconds["ask"].is_not_nan().all()


def test_without_trades_a_bar_comes_when_it_is_known(lake: Lake, histories: Histories) -> None:
    lake.write(TRADES, DAY, TRADES.empty(), allow_shrink=True)
    found = replay(lake, histories, Market.STOCKS, "AAPL", START, START + dt.timedelta(hours=9))
    assert found.seconds.height == LONGEST.total_seconds()
    known = found.seconds.filter(pl.col("price").is_not_nan())["time"]
    assert known.to_list()[:2] == [START.timestamp() + 60, START.timestamp() + 120]
    assert replay(lake, histories, Market.STOCKS, "NONE", START, END).seconds["price"].is_nan().all()
