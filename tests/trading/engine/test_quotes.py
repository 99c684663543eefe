"""Fills against quotes, each worked by hand."""

import datetime as dt

import polars as pl
import pytest

from tapewatch.trading.costs import ConstantLatency, Fees, Impact
from tapewatch.trading.engine import EngineSettings, Outcome, Tape, run
from tests.support.trading import OPEN, at, order, orders, quotes, trades

#: Seconds, bid, ask, bid size, ask size.
TAPE = quotes((0, 10.00, 10.10, 300, 100), (10, 10.00, 10.10, 300, 150), (20, 9.90, 10.00, 200, 300))


def fills(outcome: Outcome) -> list[tuple[str, float, float, float]]:
    """Fill, seconds after the open, quantity, price."""
    rows = outcome.fills.select("fill_id", "time", "quantity", "price").iter_rows()
    return [(name, (time - OPEN).total_seconds(), quantity, price) for name, time, quantity, price in rows]


def state(outcome: Outcome, order_id: str) -> str:
    return str(outcome.orders.filter(order_id=order_id)["state"].item())


def test_a_market_order_takes_the_displayed_size_and_waits_for_more() -> None:
    outcome = run(orders(order("a", 5, 1, 120)), TAPE)
    # 100 at 10.10 are displayed. The next quote has the same price, so of its 150 the first 100 are gone.
    assert fills(outcome) == [("a/1", 5, 100, 10.10), ("a/2", 10, 20, 10.10)]
    assert outcome.fills["notional_cents"].to_list() == [101_000, 20_200]
    assert outcome.equity.row(-1, named=True)["cash_cents"] == 10_000_000 - 121_200
    assert outcome.equity.row(-1, named=True)["value_cents"] == 120 * 995


def test_two_orders_share_a_displayed_size() -> None:
    outcome = run(orders(order("a", 5, 1, 80), order("b", 5, 1, 80)), TAPE)
    assert fills(outcome) == [
        ("a/1", 5, 80, 10.10),
        ("b/1", 5, 20, 10.10),
        ("b/2", 10, 50, 10.10),
        ("b/3", 20, 10, 10.00),
    ]


def test_another_price_displays_anew() -> None:
    outcome = run(orders(order("a", 5, 1, 300)), TAPE)
    assert fills(outcome) == [("a/1", 5, 100, 10.10), ("a/2", 10, 50, 10.10), ("a/3", 20, 150, 10.00)]


def test_only_a_share_of_the_size_is_taken_in_whole_lots() -> None:
    outcome = run(orders(order("a", 5, 1, 60)), TAPE, EngineSettings(depth_share=0.255))
    # 25.5 of 100; 38.25 of 150 less 25; 76.5 of 300.
    assert fills(outcome) == [("a/1", 5, 25, 10.10), ("a/2", 10, 13, 10.10), ("a/3", 20, 22, 10.00)]


def test_an_order_that_needs_latency_meets_the_quote_at_its_arrival() -> None:
    settings = EngineSettings(latency=ConstantLatency(10_000))
    assert fills(run(orders(order("a", 5, 1, 120)), TAPE, settings)) == [("a/1", 15, 120, 10.10)]


def test_a_limit_order_rests_and_is_met_at_its_limit() -> None:
    outcome = run(orders(order("a", 5, 1, 100, limit_price=10.05)), TAPE)
    assert fills(outcome) == [("a/1", 20, 100, 10.05)]
    assert outcome.fills["is_maker"].to_list() == [True]


def test_a_limit_order_beyond_the_market_takes_at_the_market() -> None:
    outcome = run(orders(order("a", 5, -1, 100, limit_price=9.95)), TAPE)
    assert fills(outcome) == [("a/1", 5, 100, 10.00)]
    assert outcome.fills["is_maker"].to_list() == [False]
    # Sold short at 10.00, valued at the mid of 9.95.
    assert outcome.equity.row(-1, named=True)["equity_cents"] == 10_000_000 + 100_000 - 99_500


def test_a_trade_through_the_limit_fills_up_to_its_size() -> None:
    tape = (TAPE, trades((12, 10.02, 70), (13, 10.01, 30)))
    outcome = run(orders(order("a", 5, 1, 100, limit_price=10.03)), tape)
    assert fills(outcome) == [("a/1", 12, 70, 10.03), ("a/2", 13, 30, 10.03)]


@pytest.mark.parametrize(("probability", "expected"), [(0.0, [20]), (1.0, [12])])
def test_a_trade_at_the_limit_fills_by_probability(probability: float, expected: list[int]) -> None:
    settings = EngineSettings(queue_probability=probability)
    outcome = run(orders(order("a", 5, 1, 50, limit_price=10.03)), (TAPE, trades((12, 10.03, 70))), settings)
    assert [second for _, second, *_ in fills(outcome)] == expected


def test_the_queue_is_drawn_from_the_seed_and_fair() -> None:
    many = orders(*(order(f"o{number}", 5, 1, 1, limit_price=10.03) for number in range(400)))
    tape = (TAPE, trades((12, 10.03, 1000)))

    def filled(seed: int) -> list[str]:
        outcome = run(many, tape, EngineSettings(queue_probability=0.25, seed=seed))
        return outcome.fills.filter(pl.col("time") == at(12))["order_id"].to_list()

    assert filled(1) == filled(1)
    assert filled(1) != filled(2)
    assert 70 <= len(filled(1)) <= 130


def test_two_orders_share_a_trade() -> None:
    outcome = run(
        orders(order("a", 5, 1, 50, limit_price=10.03), order("b", 5, 1, 50, limit_price=10.03)),
        (TAPE, trades((12, 10.01, 70))),
    )
    assert fills(outcome)[:2] == [("a/1", 12, 50, 10.03), ("b/1", 12, 20, 10.03)]


def test_a_stop_becomes_a_market_order_when_it_is_reached() -> None:
    outcome = run(orders(order("a", 5, -1, 50, stop_price=9.95)), TAPE)
    assert fills(outcome) == [("a/1", 20, 50, 9.90)]


def test_a_stop_with_a_limit_rests_when_the_market_is_beyond_its_limit() -> None:
    tape = pl.concat([TAPE, quotes((30, 9.97, 10.02, 100, 100))])
    outcome = run(orders(order("a", 5, -1, 50, stop_price=9.95, limit_price=9.96)), tape)
    assert fills(outcome) == [("a/1", 30, 50, 9.96)]


def test_immediate_or_cancel_takes_what_there_is() -> None:
    outcome = run(orders(order("a", 5, 1, 120, time_in_force="ioc")), TAPE)
    assert fills(outcome) == [("a/1", 5, 100, 10.10)]
    assert state(outcome, "a") == "cancelled"


def test_a_day_order_expires_with_the_session_and_a_lasting_one_does_not() -> None:
    next_open = dt.timedelta(days=1).total_seconds()
    tape = pl.concat([TAPE, quotes((next_open + 1, 9.5, 9.6, 100, 100))])
    outcome = run(
        orders(order("day", 25, 1, 10, limit_price=9.7), order("gtc", 25, 1, 10, limit_price=9.7, time_in_force="gtc")),
        tape,
    )
    assert fills(outcome) == [("gtc/1", next_open + 1, 10, 9.7)]
    assert state(outcome, "day") == "expired"
    assert outcome.orders.filter(order_id="day")["ended_time"].item() == at(6.5 * 3600)


def test_an_order_ends_when_it_says() -> None:
    outcome = run(orders(order("a", 5, 1, 10, limit_price=10.05, expires_time=at(15))), TAPE)
    assert state(outcome, "a") == "expired"
    assert outcome.fills.is_empty()


def test_nothing_is_filled_outside_the_session() -> None:
    early = quotes((-60, 10.0, 10.1, 100, 100), (-30, 10.0, 10.2, 100, 100), (1, 10.0, 10.3, 100, 100))
    assert fills(run(orders(order("a", -50, 1, 10)), early)) == [("a/1", 1, 10, 10.3)]
    longer = EngineSettings(trades_extended_hours=True)
    assert fills(run(orders(order("a", -50, 1, 10)), early, longer)) == [("a/1", -50, 10, 10.1)]


def test_fees_of_an_order_in_parts_reach_its_minimum_once() -> None:
    settings = EngineSettings(fees=Fees(per_unit=0.005, minimum=1.0))
    outcome = run(orders(order("a", 5, 1, 300)), TAPE, settings)
    # 0.50 and 0.75 so far are below the minimum of 1.00; 300 × 0.005 = 1.50 in the end.
    assert outcome.fills["fee_cents"].to_list() == [100, 0, 50]


def test_fees_differ_for_takers_makers_and_sales() -> None:
    settings = EngineSettings(fees=Fees(taker_bps=10, maker_bps=-2, sale_bps=5))
    outcome = run(orders(order("a", 5, -1, 100), order("b", 5, 1, 100, limit_price=10.05)), TAPE, settings)
    # Sold for 1,000.00 at 15 bps; bought for 1,005.00 with a rebate of 2 bps.
    assert outcome.fills["fee_cents"].to_list() == [150, -20]
    assert outcome.equity.row(-1, named=True)["equity_cents"] == 10_000_000 - 500 - 130


def test_impact_grows_with_the_share_taken_and_stops_at_the_limit() -> None:
    settings = EngineSettings(impact=Impact(coefficient_bps=100, exponent=0.5))
    outcome = run(orders(order("a", 5, 1, 25), order("b", 6, 1, 25, limit_price=10.12)), TAPE, settings)
    # 100 bps × √(25 / 100) = 50 bps.
    assert outcome.fills["price"].to_list() == [pytest.approx(10.10 * 1.005), 10.12]


def test_a_halt_keeps_orders_from_filling_and_refuses_new_ones() -> None:
    halts = pl.DataFrame({"symbol": ["AAPL"], "start_time": [at(8)], "end_time": [at(15)]})
    outcome = run(
        orders(order("a", 5, 1, 120), order("b", 9, 1, 10), order("c", 16, 1, 10)), Tape.of_quotes(TAPE, halts=halts)
    )
    assert fills(outcome) == [("a/1", 5, 100, 10.10), ("c/1", 16, 10, 10.10), ("a/2", 20, 20, 10.00)]
    assert outcome.refusals.row(0, named=True)["reason"] == "halted"
