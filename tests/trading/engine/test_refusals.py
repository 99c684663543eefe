"""Bad input is refused with its reason, and the account is as if it had not come."""

import math
from typing import Any

import polars as pl
import pytest

from tapewatch.market.schema import SchemaError
from tapewatch.trading.costs import CostError, Fees
from tapewatch.trading.engine import EngineSettings, Simulation, Tape, run
from tapewatch.trading.engine.settings import SettingsError
from tapewatch.trading.engine.tape import TapeError
from tests.support.trading import OPEN_NS, at, bars, order, orders, quotes

TAPE = quotes((0, 10.0, 10.1, 1e5, 1e5), (30, 10.0, 10.1, 1e5, 1e5), (60, 11.0, 11.1, 1e5, 1e5))
GOOD = order("good", 5, 1, 10)

BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "beyond cash": (order("bad", 5, 1, 100_000), "cash", "needs 1,010,000.00 and"),
    "short beyond cash": (order("bad", 5, -1, 100_000), "cash", "order less"),
    "no quotes": (order("bad", 5, 1, 10, symbol="MSFT"), "no_price", "MSFT has no quote"),
    "before its quotes": (order("bad", -5, 1, 10), "no_price", "AAPL has no quote"),
    "future": (order("bad", 90, 1, 10), "future", "after the tape's end"),
    "no side": (order("bad", 5, 0, 10), "order", "side is 0"),
    "no quantity": (order("bad", 5, 1, 0), "order", "quantity is 0"),
    "unknown quantity": (order("bad", 5, 1, math.nan), "order", "quantity is NaN"),
    "unknown kind": (order("bad", 5, 1, 10, kind="iceberg"), "order", "kind is iceberg"),
    "unknown time in force": (order("bad", 5, 1, 10, time_in_force="fok"), "order", "time_in_force is fok"),
    "limit of zero": (order("bad", 5, 1, 10, limit_price=0.0), "price", "limit_price is 0"),
    "stop below zero": (order("bad", 5, 1, 10, stop_price=-1.0), "price", "stop_price is -1"),
    "no limit": (order("bad", 5, 1, 10, kind="limit"), "price", "limit_price is missing"),
    "no stop": (order("bad", 5, 1, 10, kind="stop"), "price", "stop_price is missing"),
    "repeated": (order("good", 6, 1, 10), "repeated", "came before"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_order_is_refused_and_changes_nothing(case: str) -> None:
    bad, reason, text = BAD[case]
    alone, both = run(orders(GOOD), TAPE), run(orders(GOOD, bad), TAPE)
    refusal = both.refusals.row(0, named=True)
    assert (refusal["order_id"], refusal["reason"]) == (bad["order_id"], reason)
    assert text in refusal["detail"]
    assert both.refusals.height == 1
    for name in ("fills", "positions", "equity", "cash_flows"):
        assert getattr(both, name).equals(getattr(alone, name))


def test_open_orders_together_stay_within_cash() -> None:
    rows = [order(f"o{number}", 5, 1, 4_000, limit_price=9.0) for number in range(4)]
    outcome = run(orders(*rows), TAPE)
    # Two orders of 36,000 fit into 100,000.
    assert outcome.refusals["order_id"].to_list() == ["o2", "o3"]


def test_what_the_market_made_too_expensive_is_refused_when_it_would_fill() -> None:
    outcome = run(orders(order("a", 5, 1, 9_500)), pl.concat([quotes((0, 10.0, 10.1, 1, 1)), TAPE.tail(1)]))
    assert outcome.fills["quantity"].to_list() == [1.0]
    assert outcome.refusals.row(0, named=True)["reason"] == "cash"
    assert outcome.orders["filled"].item() == 1.0
    assert outcome.equity["cash_cents"].min() >= 0


def test_leverage_is_a_setting_and_short_positions_can_be_forbidden() -> None:
    assert run(orders(order("a", 5, 1, 15_000)), TAPE, EngineSettings(leverage=2)).refusals.is_empty()
    outcome = run(orders(GOOD, order("a", 6, -1, 10), order("b", 7, -1, 1)), TAPE, EngineSettings(allows_short=False))
    assert outcome.refusals.select("order_id", "reason").rows() == [("b", "short")]


def test_rows_of_a_clock_that_jumps_are_left_out() -> None:
    jumps = pl.concat([TAPE.head(1), quotes((40 * 86_400, 99.0, 99.1, 1, 1), (-20, 1.0, 1.1, 1, 1)), TAPE.tail(2)])
    outcome, clean = run(orders(GOOD), jumps), run(orders(GOOD), TAPE)
    assert outcome.fills.equals(clean.fills)
    assert outcome.equity.equals(clean.equity)
    refusal = outcome.refusals.row(0, named=True)
    assert (refusal["reason"], refusal["order_id"]) == ("clock", None)
    assert "2 row(s) of AAPL left out" in refusal["detail"]


def test_bars_with_a_price_of_zero_are_left_out() -> None:
    tape = bars((10, 10, 10, 10, 100), (10, 11, 0.0, 10, 100), (10.5, 11, 10, 10, 100))
    outcome = run(orders(order("a", 60, 1, 10)), tape)
    assert outcome.fills["price"].to_list() == [10.5]
    assert outcome.refusals["reason"].to_list() == ["price"]


def test_an_order_from_the_future_of_a_running_account_is_refused() -> None:
    simulation = Simulation(EngineSettings())
    simulation.advance(Tape.of(TAPE.head(2)))
    simulation.submit(orders(order("a", 31, 1, 10)), now=OPEN_NS + 30 * 10**9)
    assert [row[4] for row in simulation.refused] == ["future"]


def test_an_order_after_the_tapes_end_says_whether_its_symbol_ever_had_a_price() -> None:
    late = run(orders(order("a", 3_600, 1, 10), order("b", 3_600, 1, 10, symbol="MSFT")), TAPE).refusals
    assert sorted(late.select("order_id", "reason").rows()) == [("a", "future"), ("b", "no_price")]


def test_a_part_of_the_tape_from_the_past_is_refused() -> None:
    simulation = Simulation(EngineSettings())
    simulation.advance(Tape.of(TAPE))
    with pytest.raises(ValueError, match="the tape steps back"):
        simulation.advance(Tape.of(TAPE.head(1)))


def test_what_is_no_tape_order_or_setting_is_an_error() -> None:
    with pytest.raises(TapeError, match="give bars, quotes"):
        run(orders(GOOD), pl.DataFrame({"symbol": ["AAPL"]}))
    with pytest.raises(SchemaError, match="missing column"):
        run(pl.DataFrame({"time": [at(0)]}), TAPE)
    with pytest.raises(SettingsError, match="leverage is 0"):
        EngineSettings(leverage=0)
    with pytest.raises(CostError, match="taker_bps is -1"):
        Fees(taker_bps=-1)
