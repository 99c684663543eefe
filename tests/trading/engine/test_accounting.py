"""Cash, cost, profit and value to the cent: by hand, and against decimals."""

import datetime as dt
from decimal import ROUND_HALF_UP, Decimal

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from tapewatch.trading.costs import Borrow
from tapewatch.trading.engine import EngineSettings, Tape, run
from tapewatch.trading.engine.accounting import cents
from tests.support.trading import at, order, orders, quotes

DAY = 24 * 3600


@given(st.integers(1, 10**9), st.integers(1, 10**8))
def test_money_is_rounded_as_decimals_are(price: int, quantity: int) -> None:
    exact = (Decimal(price) / 10_000 * Decimal(quantity) / 10_000).quantize(Decimal("0.01"), ROUND_HALF_UP)
    assert cents(price / 10_000 * (quantity / 10_000)) == int(exact * 100)
    assert cents(-price / 10_000 * (quantity / 10_000)) == -int(exact * 100)


def test_a_position_is_built_reduced_and_turned_around() -> None:
    tape = quotes(
        (0, 10.0, 10.0, 1e6, 1e6), (10, 12.0, 12.0, 1e6, 1e6), (20, 15.0, 15.0, 1e6, 1e6), (30, 11.0, 11.0, 1e6, 1e6)
    )
    rows = (order("a", 5, 1, 100), order("b", 15, 1, 100), order("c", 25, -1, 50), order("d", 35, -1, 250))
    outcome = run(orders(*rows), pl.concat([tape, quotes((40, 10.0, 10.0, 1e6, 1e6))]))
    columns = ("quantity", "cost_cents", "realised_cents", "value_cents")
    assert outcome.positions.select(columns).rows() == [
        (100, 100_000, 0, 100_000),
        (200, 220_000, 0, 240_000),
        # A quarter of the cost of 2,200 goes; 750 comes in.
        (150, 165_000, 20_000, 225_000),
        # 150 are sold for 1,650, as they cost; 100 are sold short for 1,100.
        (-100, -110_000, 20_000, -110_000),
    ]
    last = outcome.equity.row(-1, named=True)
    assert last["cash_cents"] == 10_000_000 - 100_000 - 120_000 + 75_000 + 275_000
    assert last["equity_cents"] == 10_000_000 + 20_000 + 10_000


def test_borrow_is_charged_by_calendar_day() -> None:
    # Friday to Monday are three days.
    friday = 4 * DAY
    tape = quotes((friday, 10.0, 10.0, 1e6, 1e6), (friday + 60, 20.0, 20.0, 1e6, 1e6), (7 * DAY, 21.0, 21.0, 1e6, 1e6))
    settings = EngineSettings(borrow=Borrow(annual_bps=100, by_symbol={"AAPL": 720}))
    outcome = run(orders(order("a", friday + 30, -1, 500)), tape, settings)
    flow = outcome.cash_flows.row(0, named=True)
    # 10,000 × 7.2 % × 3 / 360
    assert (flow["kind"], flow["amount_cents"], flow["time"]) == ("borrow", -600, at(7 * DAY))
    last = outcome.equity.row(-1, named=True)
    assert last["cash_cents"] == 10_000_000 + 500_000 - 600
    assert last["value_cents"] == -500 * 2100


def test_a_split_and_a_dividend_leave_no_gap() -> None:
    ex = DAY
    tape = quotes((0, 40.0, 40.0, 1e6, 1e6), (ex + 1, 9.5, 9.5, 1e6, 1e6), (ex + 2, 8.0, 8.0, 1e6, 1e6))
    actions = pl.DataFrame({"symbol": ["AAPL"], "time": [at(ex)], "split_ratio": [4.0], "dividend": [2.0]})
    rows = (order("a", 0, 1, 100), order("rest", 5, 1, 10, limit_price=36.0, time_in_force="gtc"))
    outcome = run(orders(*rows), Tape.of_quotes(tape, actions=actions))
    assert outcome.cash_flows.row(0, named=True)["amount_cents"] == 20_000
    assert outcome.positions.select("quantity", "value_cents").row(1) == (400.0, 400_000)
    # The resting order became one for 40 at 9.00.
    assert outcome.fills.select("quantity", "price").row(1) == (40.0, 9.0)
    last = outcome.equity.row(-1, named=True)
    assert last["equity_cents"] == 10_000_000 - 400_000 + 20_000 - 36_000 + 440 * 800


def test_a_consolidation_brings_a_resting_order_within_reach() -> None:
    tape = quotes((0, 9.99, 10.0, 1e6, 1e6), (10, 9.99, 10.0, 1e6, 1e6), (30, 9.99, 10.0, 1e6, 1e6))
    actions = pl.DataFrame({"symbol": ["AAPL"], "time": [at(20)], "split_ratio": [0.5], "dividend": [None]})
    sent = orders(order("rest", 5, 1, 100, limit_price=6.0))
    fills = run(sent, Tape.of_quotes(tape, actions=actions)).fills
    assert fills.select("time", "quantity", "price").rows() == [(at(30), 50.0, 12.0)]


def test_an_option_has_a_hundred_units() -> None:
    symbol = "O:SPY240621C00530000"
    tape = quotes((0, 1.0, 1.1, 50, 50), symbol=symbol)
    outcome = run(
        orders(order("a", 1, 1, 2, symbol=symbol)), pl.concat([tape, quotes((2, 1.2, 1.4, 9, 9), symbol=symbol)])
    )
    assert outcome.fills["notional_cents"].item() == 22_000
    assert outcome.equity.row(-1, named=True)["equity_cents"] == 10_000_000 - 22_000 + 26_000


def test_crypto_trades_at_night_and_in_fractions() -> None:
    symbol, night = "X:BTC-USD", -6 * 3600
    tape = quotes((night, 69_000.0, 69_000.1, 0.5, 0.25), symbol=symbol)
    outcome = run(orders(order("a", night, 1, 0.12345678, symbol=symbol)), tape)
    assert outcome.fills["notional_cents"].item() == 851_853
    assert outcome.fills["time"].item() == at(0) - dt.timedelta(hours=6)
