"""Fills against bars: pessimistic rules by hand, and the whole against a plain loop with decimals."""

from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from benchmarks.trading.engine_plain import PlainAccount, plain_bars, plain_orders
from tapewatch.trading.costs import Fees
from tapewatch.trading.engine import EngineSettings, Moment, Outcome, orders_of_targets, run, run_strategy
from tests.support.trading import OPEN, at, bars, minutes, order, orders

#: Open, high, low, close, volume.
TAPE = bars(
    (10, 10.2, 9.9, 10.1, 500), (10.1, 10.3, 10.0, 10.2, 400), (9.5, 9.9, 9.4, 9.8, 300), (9.9, 10.5, 9.8, 10.4, 90)
)
#: When the first bar is known.
FIRST = 60


def fills(outcome: Outcome) -> list[tuple[str, float, float, float]]:
    rows = outcome.fills.select("fill_id", "time", "quantity", "price").iter_rows()
    return [(name, (time - OPEN).total_seconds() / 60, quantity, price) for name, time, quantity, price in rows]


def test_a_market_order_trades_at_the_next_open() -> None:
    assert fills(run(orders(order("a", FIRST, 1, 100)), TAPE)) == [("a/1", 2, 100, 10.1)]


def test_an_order_within_a_bar_waits_for_the_next() -> None:
    assert fills(run(orders(order("a", FIRST + 1, 1, 100)), TAPE)) == [("a/1", 3, 100, 9.5)]


def test_a_limit_must_be_traded_through() -> None:
    touched = orders(order("a", FIRST, 1, 100, limit_price=10.0))
    assert fills(run(touched, TAPE.head(2))) == []
    assert fills(run(orders(order("a", FIRST, 1, 100, limit_price=10.01)), TAPE)) == [("a/1", 2, 100, 10.01)]


def test_a_resting_limit_gets_no_better_price_than_its_own() -> None:
    outcome = run(orders(order("a", FIRST, 1, 100, limit_price=10.0)), TAPE)
    assert fills(outcome) == [("a/1", 3, 100, 10.0)]
    assert outcome.fills["is_maker"].item()


def test_a_new_limit_beyond_the_open_trades_at_the_open() -> None:
    assert fills(run(orders(order("a", 120, 1, 100, limit_price=9.7)), TAPE)) == [("a/1", 3, 100, 9.5)]


def test_a_stop_trades_at_its_price_or_at_the_open_behind_a_gap() -> None:
    assert fills(run(orders(order("a", FIRST, 1, 100, stop_price=10.25)), TAPE)) == [("a/1", 2, 100, 10.25)]
    assert fills(run(orders(order("a", FIRST, -1, 100, stop_price=9.99)), TAPE)) == [("a/1", 3, 100, 9.5)]


def test_a_stop_with_a_limit_counts_from_the_bar_after_its_trigger() -> None:
    outcome = run(orders(order("a", FIRST, -1, 50, stop_price=9.99, limit_price=9.7)), TAPE)
    assert fills(outcome) == [("a/1", 4, 50, 9.7)]


def test_stops_come_before_limits_and_all_share_the_volume() -> None:
    rows = (
        order("limit", FIRST, -1, 80, limit_price=10.25),
        order("stop", FIRST, 1, 80, stop_price=10.25),
        order("market", FIRST, 1, 300),
    )
    outcome = run(orders(*rows), TAPE)
    assert fills(outcome)[:3] == [("stop/1", 2, 80, 10.25), ("market/1", 2, 300, 10.1), ("limit/1", 2, 20, 10.25)]


def test_half_a_spread_is_paid_and_a_cancelled_remainder_is_gone() -> None:
    settings = EngineSettings(half_spread_bps=10, depth_share=0.1)
    outcome = run(orders(order("a", FIRST, 1, 100, time_in_force="ioc")), TAPE, settings)
    assert fills(outcome) == [("a/1", 2, 40, pytest.approx(10.1 * 1.001))]
    assert outcome.orders["state"].item() == "cancelled"


def test_a_bar_that_is_known_late_changes_nothing() -> None:
    late = TAPE.with_columns(known_time=pl.when(pl.col("time") == at(60)).then(at(600)).otherwise("known_time"))
    outcome = run(orders(order("a", FIRST, 1, 100)), late)
    assert fills(outcome) == [("a/1", 3, 100, 9.5)]
    assert outcome.equity.row(-1, named=True)["value_cents"] == 100 * 1040


class _Reversal:
    """Buys after a falling bar and sells what it holds after a rising one."""

    def on_bar(self, moment: Moment) -> pl.DataFrame | None:
        row = moment.rows.row(0, named=True)
        held = moment.quantity("AAPL")
        seconds = moment.time / 1e9 - OPEN.timestamp()
        if row["close"] < row["open"] and not held:
            return orders(order(f"buy{seconds:.0f}", seconds, 1, 10))
        if row["close"] > row["open"] and held:
            return orders(order(f"sell{seconds:.0f}", seconds, -1, held))
        return None

    def on_quote(self, moment: Moment) -> pl.DataFrame | None:
        raise AssertionError("there are no quotes")


def test_a_strategy_responds_to_its_position() -> None:
    tape = bars(
        (10, 10, 9.8, 9.9, 100), (9.9, 10.2, 9.9, 10.1, 100), (10.2, 10.4, 10.2, 10.3, 100), (10.3, 10.3, 10, 10.2, 100)
    )
    outcome = run_strategy(_Reversal(), tape)
    assert fills(outcome) == [("buy60/1", 2, 10, 9.9), ("sell120/1", 3, 10, 10.2)]
    assert outcome.profit == pytest.approx(3.0)


def test_an_order_that_a_strategy_dates_back_counts_from_the_moment() -> None:
    class Cheat(_Reversal):
        def on_bar(self, moment: Moment) -> pl.DataFrame | None:
            return orders(order("cheat", 0, 1, 10)) if moment.time / 1e9 == at(180).timestamp() else None

    assert fills(run_strategy(Cheat(), TAPE)) == [("cheat/1", 4, 10, 9.9)]


def test_targets_become_the_orders_between_them() -> None:
    targets = pl.DataFrame(
        {"symbol": ["AAPL"] * 3, "time": [at(60), at(120), at(180)], "target": [100.0, 100.0, -50.0]}
    )
    made = orders_of_targets(targets, tag="t")
    assert made.select("order_id", "side", "quantity").rows() == [("t:AAPL:0", 1, 100.0), ("t:AAPL:1", -1, 150.0)]
    outcome = run(made, TAPE, EngineSettings(depth_share=1.0))
    assert outcome.positions.row(-1, named=True)["quantity"] == 100.0 - 90.0


def random_minutes(rng: np.random.Generator, count: int, symbols: int) -> pl.DataFrame:
    """Bars on a grid of cents, some without volume."""
    frames = []
    for symbol in range(symbols):
        path = np.maximum(1, 1000 + np.cumsum(rng.integers(-8, 9, 4 * count))).reshape(count, 4)
        rows = zip(path[:, 0], path.max(1), path.min(1), path[:, 3], rng.integers(0, 60, count) * 10, strict=True)
        frames.append(bars(*((o / 100, h / 100, lo / 100, c / 100, v) for o, h, lo, c, v in rows), symbol=f"S{symbol}"))
    return minutes(frames=frames)


def random_orders(rng: np.random.Generator, count: int, span: int, symbols: int) -> pl.DataFrame:
    """Market, limit and stop orders without an end."""
    rows = []
    for number in range(count):
        kind = rng.integers(3)
        price = {
            0: {},
            1: {"limit_price": rng.integers(950, 1050) / 100},
            2: {"stop_price": rng.integers(950, 1050) / 100},
        }
        more = {"symbol": f"S{rng.integers(symbols)}", "time_in_force": "gtc", **price[int(kind)]}
        if kind == 2 and rng.random() < 0.5:
            more["limit_price"] = more["stop_price"]
        if "stop_price" in more:
            more["kind"] = "stop"
        rows.append(
            order(
                f"o{number:04d}",
                float(rng.integers(60, 60 * span)),
                int(rng.choice([-1, 1])),
                float(rng.integers(1, 400)),
                **more,
            )
        )
    return orders(*rows)


@pytest.mark.parametrize("seed", range(5))
def test_the_kernel_equals_a_plain_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tape, sent = random_minutes(rng, 200, 3), random_orders(rng, 150, 200, 3)
    settings = EngineSettings(cash=1e7, leverage=100, fees=Fees(taker_bps=3, maker_bps=3), depth_share=0.5)
    outcome = run(sent, tape, settings)

    account = PlainAccount(Decimal(10_000_000), Decimal(3))
    in_time = sent.sort("time", maintain_order=True)
    rows = tape.sort("known_time", maintain_order=True).select(
        pl.col("known_time", "time").dt.epoch("ns"), "symbol", "open", "high", "low", "close", "volume"
    )
    plain_bars(
        plain_orders(in_time.iter_rows(named=True), in_time["time"].dt.epoch("ns")), rows.iter_rows(), account, 0.5
    )

    ours = outcome.fills.select("order_id", pl.col("time").dt.epoch("ns"), "quantity", "price").rows()
    assert ours == account.fills
    assert len(ours) > 100
    by_time = dict(zip(outcome.equity["time"].dt.epoch("ns"), outcome.equity["equity_cents"], strict=True))
    # Fees are rounded by order here and by fill there: a cent for each part of an order at the most.
    parts = len(account.fills)
    assert all(abs(by_time[time] - int(value * 100)) <= parts for time, value in account.equity)
