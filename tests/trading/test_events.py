"""Corporate actions and halts in the lake: replaced by symbol and day, applied live, and halts from the stream's price bands."""

import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from tapewatch.feeds.rest.corporate_actions import actions_of
from tapewatch.feeds.rest.messages import DividendRow, SplitRow
from tapewatch.market.corporate_actions import ActionError
from tapewatch.market.instruments import Market, Partition, session_of
from tapewatch.market.tables.live import LIVE_BARS
from tapewatch.market.tables.paper import PAPER_FILLS, PAPER_REFUSALS
from tapewatch.market.tables.stream import PRICE_BANDS
from tapewatch.market.tables.trading import CORPORATE_ACTIONS, HALTS
from tapewatch.store.database.database import Database
from tapewatch.store.lake.lake import Lake
from tapewatch.trading.engine import EngineSettings
from tapewatch.trading.events import halts_of_bands, halts_of_days, store_events, stored_events
from tapewatch.trading.paper.broker import PaperBroker
from tapewatch.trading.paper.feed import LiveBars, lake_events
from tapewatch.trading.paper.ledger import send
from tapewatch.trading.paper.protections import Protections
from tests.support.trading import OPEN_NS, at, bars, order, orders

FIRST, LAST = dt.date(2024, 6, 3), dt.date(2024, 6, 10)


def split(ticker: str, date: str, old: float, new: float) -> SplitRow:
    return SplitRow(ticker=ticker, execution_date=date, split_from=old, split_to=new)


def test_actions_of_the_vendor_by_hand() -> None:
    paid = [
        DividendRow(ticker="AAPL", ex_dividend_date="2024-06-08", cash_amount=0.25, currency="USD"),
        DividendRow(ticker="AAPL", ex_dividend_date="2024-06-10", cash_amount=0.5),
        DividendRow(ticker="AAPL", ex_dividend_date="2024-06-07", cash_amount=1.0, currency="CAD"),
    ]
    found = actions_of([split("AAPL", "2024-06-10", 1, 4), split("AAPL", "2024-06-10", 10, 1)], paid)
    # The Saturday's takes effect on Monday, with the others.
    monday = session_of(Market.STOCKS, dt.date(2024, 6, 10))
    assert monday is not None
    assert found["time"].dt.epoch("ns").to_list() == [monday.day_start]
    assert found.select("split_ratio", "dividend").row(0) == (pytest.approx(0.4), 0.75)
    with pytest.raises(ActionError, match="split of 0 for 2 on 2024-06-10"):
        actions_of([split("AAPL", "2024-06-10", 0, 2)], [])
    with pytest.raises(ActionError, match="action on 'soon'"):
        actions_of([split("AAPL", "soon", 1, 2)], [])


def test_rows_are_replaced_by_symbol_and_day(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    given = actions_of([split("AAPL", "2024-06-04", 1, 4), split("MSFT", "2024-06-04", 1, 2)], [])
    assert store_events(lake, CORPORATE_ACTIONS, Market.STOCKS, given, FIRST, LAST, ["AAPL", "MSFT"]) == 2
    for _ in range(2):
        later = actions_of([split("AAPL", "2024-06-05", 1, 3)], [])
        assert store_events(lake, CORPORATE_ACTIONS, Market.STOCKS, later, FIRST, LAST, ["AAPL"]) == 1
    found = stored_events(lake, CORPORATE_ACTIONS, Market.STOCKS, FIRST, LAST)
    assert found.select(pl.col("symbol").cast(pl.String), "split_ratio").rows() == [("MSFT", 2.0), ("AAPL", 3.0)]
    store_events(lake, CORPORATE_ACTIONS, Market.STOCKS, given.clear(), FIRST, LAST, ["MSFT", "AAPL"])
    assert lake.partitions(CORPORATE_ACTIONS) == []


def bands(*rows: tuple[str, float, str | None]) -> pl.DataFrame:
    columns = [(symbol, at(second), 1.0, 0.5, codes, 3, None, at(second)) for symbol, second, codes in rows]
    return PRICE_BANDS.conform(pl.DataFrame(columns, schema=list(PRICE_BANDS.schema), orient="row"))


def test_halts_from_the_indicators_of_price_bands(tmp_path: Path) -> None:
    told = bands(
        ("AAPL", 0, "0"), ("AAPL", 60, "17"), ("AAPL", 90, "17,1"), ("AAPL", 360, "18"), ("AAPL", 600, "17"),
        ("MSFT", 30, None), ("MSFT", 40, "18"),
    )  # fmt: skip
    expected = [("AAPL", at(60), at(360)), ("AAPL", at(600), None)]
    assert halts_of_bands(told).with_columns(pl.col("symbol").cast(pl.String)).rows() == expected
    lake, day = Lake(tmp_path), Partition(FIRST, Market.STOCKS)
    lake.write(PRICE_BANDS, day, told)
    assert halts_of_days(lake, Market.STOCKS, FIRST, FIRST, ["AAPL"]).height == 2
    # What a file says of a day stands for it.
    own = pl.DataFrame({"symbol": ["AAPL"], "start_time": [at(5)], "end_time": [at(9)]})
    store_events(lake, HALTS, Market.STOCKS, HALTS.conform(own), FIRST, FIRST, ["AAPL"])
    assert halts_of_days(lake, Market.STOCKS, FIRST, FIRST, ["AAPL"])["start_time"].to_list() == [at(5)]


def test_a_paper_account_applies_a_halt_and_a_split_over_night(tmp_path: Path) -> None:
    lake, minute, day_s = Lake(tmp_path / "lake"), 60 * 10**9, 86_400
    given = actions_of([split("AAPL", "2024-06-04", 1, 4)], [])
    store_events(lake, CORPORATE_ACTIONS, Market.STOCKS, given, FIRST, LAST, ["AAPL"])
    halt = pl.DataFrame({"symbol": ["AAPL"], "start_time": [at(90)], "end_time": [at(150)]})
    store_events(lake, HALTS, Market.STOCKS, HALTS.conform(halt), FIRST, FIRST, ["AAPL"])
    flat = (40.0, 40.0, 40.0, 40.0, 1000.0)
    tape = [bars(flat, flat, flat), bars(*[(10.0, 10.0, 10.0, 10.0, 1000.0)] * 3, first=day_s // 60)]
    with Database(f"sqlite:///{tmp_path / 'live.db'}") as database:
        for date, frame in zip((FIRST, dt.date(2024, 6, 4)), tape, strict=True):
            live = frame.with_columns(clock=pl.lit("1m"), revision=pl.lit(0))
            database.upsert(LIVE_BARS, Partition(date, Market.STOCKS), LIVE_BARS.conform(live))
        feed = LiveBars(database, [Market.STOCKS], events=lake_events(lake, [Market.STOCKS]))
        broker = PaperBroker(database, "main", EngineSettings(), Protections.none())
        send(database, "main", orders(order("a", 0, 1, 100), order("early", 60, 1, 100), order("halted", 120, 1, 1)))
        for until in (OPEN_NS + 3 * minute, OPEN_NS + day_s * 10**9 + 3 * minute):
            broker.process(feed.tape(broker.cursor or OPEN_NS - minute, until), until)
        refused = database.read(PAPER_REFUSALS)
        assert sorted(refused.select("order_id", "reason").rows()) == [("a", "no_price"), ("halted", "halted")]
        # The bar in which trading stood still fills nothing, the one after it does.
        assert database.read(PAPER_FILLS)["time"].to_list() == [at(180)]
        assert broker.simulation.quantity("AAPL") == 400
        assert broker.simulation.equity_cents == 10_000_000
