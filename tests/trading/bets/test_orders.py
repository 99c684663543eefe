"""The orders of bets by hand: limits, quantities, and when a bet is closed."""

import datetime as dt

import polars as pl
import pytest

from tapewatch.market.instruments import NS_PER_MINUTE
from tapewatch.market.tables.signals import SIGNALS
from tapewatch.market.tables.trading import FILLS, ORDER_OUTCOMES
from tapewatch.trading.bets.day import trade_signals
from tapewatch.trading.bets.orders import bets_of, closings, names, openings
from tapewatch.trading.bets.path import path_labels
from tapewatch.trading.bets.rules import BetRules
from tapewatch.trading.engine import EngineSettings, Tape
from tapewatch.trading.signals.risk import RiskRules
from tests.support.trading_rows import bars_at, minute, session, signal

EVERY = BetRules(is_sized=False)


def lot(symbol: str) -> float:
    return 1e-8 if symbol.startswith("X:") else 1.0


def opened(*signals: pl.DataFrame, rules: BetRules = EVERY) -> list[tuple[object, ...]]:
    """side, quantity, limit and life in minutes of the opening orders."""
    orders = openings(pl.concat(signals), session(), rules, lot)
    life = (orders["expires_time"] - orders["time"]).dt.total_minutes()
    return orders.select("side", "quantity", "limit_price", life=life).rows()


def test_the_limit_takes_the_other_side_of_the_spread_on_the_tick_that_costs_less() -> None:
    # Half of 4 bps of 100.037 is 0.02: a buyer pays 100.05 at most, a seller takes 100.02 at least.
    rows = opened(signal(5, 1, price=100.037, spread_bps=4.0), signal(6, -1, price=100.037, spread_bps=4.0))
    assert rows == [(1, 99.0, pytest.approx(100.05), 2), (-1, 99.0, pytest.approx(100.02), 2)]
    (row,) = opened(signal(5, 1, price=100.03, spread_bps=4.0), rules=BetRules(is_sized=False, aggression=0.0))
    assert row[2] == pytest.approx(100.00)
    (row,) = opened(signal(5, 1, symbol="X:AAA", price=0.30000001, spread_bps=0.0))
    assert row[2] == pytest.approx(0.30000001, rel=1e-12)
    assert row[1] == pytest.approx(10_000 / 0.30000001)


def test_a_sized_bet_never_pays_more_than_its_edge() -> None:
    bought = signal(5, 1, size=0.5, limit_price=100.01, spread_bps=4.0)
    assert opened(bought, rules=BetRules()) == [(1, 50.0, pytest.approx(100.01), 2)]
    assert opened(signal(5, 1, size=0.0), rules=BetRules()) == []


def test_a_dynamic_limit_lies_between_price_and_forecast_and_the_largest_bet_keeps_to_the_spread() -> None:
    rules = BetRules(RiskRules(dynamic_limits=True))
    bought = signal(5, 1, size=0.6, limit_price=101.0, spread_bps=4.0)
    # 101 - √(1 / 0.36 - 1) × 0.2 / 0.6 = 100.556, in whole cents downwards.
    assert opened(bought, rules=rules)[0][2] == pytest.approx(100.55)
    assert opened(bought, rules=BetRules())[0][2] == pytest.approx(100.02)
    assert opened(signal(5, 1, size=1.0, limit_price=101.0, spread_bps=4.0), rules=rules)[0][2] == pytest.approx(100.02)
    assert opened(
        signal(5, 1, size=0.6, limit_price=101.0, spread_bps=4.0), rules=BetRules(rules.risk, is_sized=False)
    )[0][2] == pytest.approx(100.02)


def test_the_quantity_is_capped_by_the_usual_volume() -> None:
    # The largest notional takes 8 minutes at the participation cap, so two minutes trade a quarter.
    assert opened(signal(5, 1, exit_minutes=8.0))[0][1] == 25.0
    assert opened(signal(5, 1, exit_minutes=None)) == []
    assert opened(signal(5, 1, price=20_000.0)) == []


def test_what_may_not_be_traded_or_comes_too_late_is_not_opened() -> None:
    assert opened(signal(5, is_tradable=False, reason="no price"), signal(5, price=None), signal(389)) == []
    assert len(opened(signal(387))) == 1


def held(*, at: int = 5, side: int = 1, closing: float | None = None, **columns: object) -> pl.DataFrame:
    """`bets_of` one bet that was filled at 100 at the end of minute `at`."""
    (name,) = names(signal(at, side, **columns))["bet"]
    rows = [{"order_id": f"{name}:open", "quantity": 10.0, "expires_time": minute(at + 2), "state": "filled"}]
    if closing is not None:
        rows.append({"order_id": f"{name}:close", "quantity": 10.0, "expires_time": None, "state": "cancelled"})
    shared = {
        "symbol": "AAA",
        "time": minute(at),
        "side": side,
        "kind": "limit",
        "time_in_force": "day",
        "tag": "",
        "filled": 0.0,
    }
    orders = ORDER_OUTCOMES.conform(pl.DataFrame([shared | row for row in rows], infer_schema_length=None))
    fill = {
        "order_id": f"{name}:open",
        "symbol": "AAA",
        "side": side,
        "quantity": 10.0,
        "price": 100.0,
        "is_maker": False,
        "tag": "",
    }
    fills = [fill | {"fill_id": "1", "time": minute(at + 1), "notional_cents": 100_000, "fee_cents": 5}]
    if closing:
        fills.append(fills[0] | {"order_id": f"{name}:close", "fill_id": "2", "quantity": closing, "price": 101.0})
    return bets_of(signal(at, side, **columns), orders, FILLS.conform(pl.DataFrame(fills)))


def closed(bets: pl.DataFrame, now: int, prices: list[float]) -> list[tuple[object, ...]]:
    bars = bars_at({"AAA": prices[:now]})
    orders = closings(bets, bars, session(), EVERY, session().regular_start + now * NS_PER_MINUTE)
    return orders.select(pl.col("order_id").str.split(":").list.last(), "side", "quantity").rows()


#: 20 bps above 100 is 100.2.
RISES = [100.0] * 8 + [100.3] * 30


def test_a_bet_is_closed_once_its_barrier_is_known_to_be_met() -> None:
    bet = held()
    assert closed(bet, 8, RISES) == []
    assert closed(bet, 9, RISES) == [("close", -1, 10.0)]
    assert closed(held(side=-1), 9, RISES) == [("close", 1, 10.0)]
    # Ten minutes after the fill at the end of minute 5.
    flat = [100.0] * 40
    assert closed(bet, 15, flat) == []
    assert closed(bet, 16, flat) == [("close", -1, 10.0)]
    # The bar in which it was filled is not yet its path.
    spike = [100.0] * 5 + [100.3] + [100.0] * 30
    assert closed(bet, 7, spike) == []


def test_a_bet_is_closed_before_its_session_ends_and_after_it_at_once() -> None:
    late = held(at=383, horizon_minutes=30)
    flat = [100.0] * 390
    assert closed(late, 387, flat) == []
    assert closed(late, 388, flat) == [("close", -1, 10.0)]
    yesterday = held().with_columns(pl.col("known_time") - dt.timedelta(days=1))
    assert closed(yesterday, 7, flat) == [("close", -1, 10.0)]


def test_what_a_closing_order_left_is_sent_again() -> None:
    bet = held(closing=4.0)
    assert bet.select("filled", "closing", "closed", "attempts", "exit_price", "fee_cents").row(0) == (
        10,
        4,
        4,
        1,
        101,
        10,
    )
    assert closed(bet, 9, RISES) == [("close2", -1, 6.0)]
    assert closed(held(closing=0.0), 9, RISES) == [("close2", -1, 10.0)]
    assert closed(held(closing=10.0), 9, RISES) == []


def test_the_labels_of_the_own_path_by_hand() -> None:
    bets = pl.concat([held(), held(at=6, side=-1), held(at=5, target_bps=40.0, strategy="pairs")])
    found = path_labels(bets, bars_at({"AAA": RISES}), session())
    assert found.select("barrier", "label", "known_time").rows() == [
        (1, 1, minute(9)), (-1, 0, minute(9)), (0, 1, minute(16)),
    ]  # fmt: skip
    assert path_labels(bets.clear(), bars_at({"AAA": RISES}), session()).is_empty()


def quotes_at(prices: list[float]) -> pl.DataFrame:
    """A quote two cents wide in each half minute, 30 shares on each side."""
    times = [minute(at) + dt.timedelta(seconds=second) for at in range(len(prices)) for second in (1, 31)]
    mids = [price for price in prices for _ in range(2)]
    frame = pl.DataFrame({"symbol": "AAA", "time": times, "mid": mids, "bid_size": 30.0, "ask_size": 30.0})
    # Another price shows a size anew.
    half = 0.01 + pl.int_range(pl.len()) % 2 * 1e-9
    return frame.with_columns(
        pl.col("time").cast(pl.Datetime("ns", "UTC")), bid_price=pl.col("mid") - half, ask_price=pl.col("mid") + half
    )


def test_orders_meet_recorded_quotes_with_their_spread_and_size() -> None:
    found = signal(5, price=100.0, spread_bps=2.0, cost_bps=0.0)
    tape = Tape.of_quotes(quotes_at(RISES))
    rules = BetRules(RiskRules(largest_notional=5_000.0), is_sized=False)
    outcome, bets = trade_signals(found, tape, bars_at({"AAA": RISES}), session(), EngineSettings(), rules)
    # 50 shares at 100.01 or better: 30 at once, 20 with the next price, and sold at the bid, 30 and 20.
    buys, sells = (outcome.fills.filter(pl.col("side") == side) for side in (1, -1))
    assert buys["price"].to_list() == pytest.approx([100.01, 100.01], abs=1e-6)
    assert buys["quantity"].to_list() == [30.0, 20.0]
    assert sells["price"].to_list() == pytest.approx([100.29] * sells.height, abs=1e-6)
    assert bets["closed"].to_list() == [50.0]
    assert outcome.profit == pytest.approx(50 * 0.28, abs=0.01)


def test_a_market_that_runs_away_is_not_followed() -> None:
    runs = [100.0] * 5 + [100.5] * 30
    found = signal(5, price=100.0, spread_bps=2.0)
    outcome, bets = trade_signals(
        found,
        Tape.of_bars(bars_at({"AAA": runs}).with_columns(volume=pl.lit(1e6))),
        bars_at({"AAA": runs}),
        session(),
        EngineSettings(),
        EVERY,
    )
    assert outcome.orders["state"].to_list() == ["expired"]
    assert bets["filled"].to_list() == [None]
    assert SIGNALS.schema.names() == bets.columns[: len(SIGNALS.columns)]
