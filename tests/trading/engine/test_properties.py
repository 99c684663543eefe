"""What holds for any tape and any orders: books that balance, sizes used once, no look-ahead, parts that equal the whole."""

from collections import defaultdict
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from tapewatch.trading.costs import Borrow, Fees, Impact, RandomLatency
from tapewatch.trading.engine import EngineSettings, Simulation, Tape, run
from tapewatch.trading.engine.outcome import Outcome, outcome_of
from tests.support.trading import OPEN_NS, minutes, order, orders, quotes, trades
from tests.trading.engine.test_bars import random_minutes, random_orders

SYMBOLS = ("A", "B")
SPAN = 300
SETTINGS = EngineSettings(
    cash=50_000,
    leverage=2,
    fees=Fees(per_unit=0.0035, taker_bps=1, minimum=0.35),
    impact=Impact(5),
    borrow=Borrow(300),
    latency=RandomLatency(20, 400),
    seed=7,
)
FRAMES = ("orders", "fills", "positions", "equity", "cash_flows", "refusals")


def random_tape(rng: np.random.Generator) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Quotes on a grid of cents, sometimes one-sided, and trades near them."""
    quoted, traded = [], []
    for symbol in SYMBOLS:
        times = np.sort(rng.choice(SPAN * 4, 120, replace=False)) / 4
        bid = np.maximum(1, 2000 + np.cumsum(rng.integers(-3, 4, times.size)))
        ask = (bid + rng.integers(1, 4, times.size)) / 100 * (rng.random(times.size) > 0.03)
        sizes = rng.integers(1, 6, (2, times.size)) * 100
        quoted.append(quotes(*zip(times, bid / 100, ask, *sizes, strict=True), symbol=symbol))
        at = np.sort(rng.integers(0, SPAN * 4, 60)) / 4
        near = bid[np.clip(np.searchsorted(times, at) - 1, 0, None)] + rng.integers(-2, 5, at.size)
        traded.append(trades(*zip(at, near / 100, rng.integers(1, 4, at.size) * 50, strict=True), symbol=symbol))
    return minutes(frames=quoted), minutes(frames=traded)


def random_sent(rng: np.random.Generator, count: int = 60) -> pl.DataFrame:
    """Orders of every kind and time in force."""
    rows: list[dict[str, Any]] = []
    for number in range(count):
        more: dict[str, Any] = {
            "symbol": str(rng.choice(SYMBOLS)),
            "time_in_force": str(rng.choice(["day", "gtc", "ioc"])),
        }
        kind = rng.integers(4)
        if kind in (1, 3):
            more["limit_price"] = rng.integers(1985, 2015) / 100
        if kind in (2, 3):
            more |= {"stop_price": rng.integers(1985, 2015) / 100, "kind": "stop"}
        second = float(rng.integers(0, SPAN * 8)) / 8
        rows.append(order(f"o{number:03d}", second, int(rng.choice([-1, 1])), float(rng.integers(1, 9) * 50), **more))
    return orders(*rows)


def money(price: float, quantity: float) -> int:
    # An impact leaves the dust of floats in a price.
    exact = Decimal(f"{price:.10f}") * Decimal(repr(quantity)) * 100
    return int(exact.quantize(Decimal(1), ROUND_HALF_UP))


def assert_books_balance(outcome: Outcome) -> None:
    """Recompute cash, cost and profit from fills and flows, at every change and every interval."""
    cash, fees, position = outcome.cash_cents, 0, defaultdict(float)
    flows = outcome.cash_flows.sort("time").rows(named=True)
    changes = {row["sequence_number"]: row for row in outcome.positions.iter_rows(named=True)}
    intervals = iter(outcome.equity.rows(named=True))
    interval = next(intervals, None)

    def check_until(time: object) -> None:
        nonlocal interval
        while interval is not None and (time is None or interval["time"] < time):
            paid = sum(flow["amount_cents"] for flow in flows if flow["time"] <= interval["time"])
            assert interval["cash_cents"] == cash + paid
            assert interval["fees_cents"] == fees
            assert interval["equity_cents"] == interval["cash_cents"] + interval["value_cents"]
            interval = next(intervals, None)

    for number, fill in enumerate(outcome.fills.iter_rows(named=True)):
        check_until(fill["time"])
        assert fill["notional_cents"] == money(fill["price"], fill["quantity"])
        cash -= fill["side"] * fill["notional_cents"] + fill["fee_cents"]
        fees += fill["fee_cents"]
        position[fill["symbol"]] += fill["side"] * fill["quantity"]
        change = changes[number]
        assert change["quantity"] == position[fill["symbol"]]
        assert change["value_cents"] == (1 if change["quantity"] >= 0 else -1) * money(
            change["mark_price"], abs(change["quantity"])
        )
    check_until(None)
    last = {row["symbol"]: row for row in outcome.positions.sort("sequence_number").iter_rows(named=True)}
    cost = sum(row["cost_cents"] for row in last.values())
    realised = sum(row["realised_cents"] for row in last.values())
    assert cash == outcome.cash_cents - cost + realised - fees


def assert_sizes_are_used_once(outcome: Outcome, quoted: pl.DataFrame, traded: pl.DataFrame) -> None:
    """No stretch of one price at one side, and no trade, gives more than it showed."""
    taken: dict[tuple[object, ...], float] = defaultdict(float)
    shown: dict[tuple[object, ...], float] = {}
    sizes = {
        (str(row["symbol"]), row["time"], row["price"]): row["size"]
        for row in traded.group_by("symbol", "time", "price").agg(pl.col("size").sum()).iter_rows(named=True)
    }
    runs: dict[str, list[tuple[object, int, int, float, float]]] = defaultdict(list)
    for row in quoted.iter_rows(named=True):
        history = runs[str(row["symbol"])]
        bid_run, ask_run = (history[-1][1], history[-1][2]) if history else (0, 0)
        if history:
            bid_run += row["bid_price"] != history[-1][5]
            ask_run += row["ask_price"] != history[-1][6]
        history.append(
            (row["time"], bid_run, ask_run, row["bid_size"], row["ask_size"], row["bid_price"], row["ask_price"])
        )
    for fill in outcome.fills.iter_rows(named=True):
        symbol, side = str(fill["symbol"]), fill["side"]
        by_trade = [price for (name, time, price) in sizes if name == symbol and time == fill["time"]]
        if fill["is_maker"] and by_trade:
            continue
        before = [entry for entry in runs[symbol] if entry[0] <= fill["time"]]
        run_number = before[-1][2 if side > 0 else 1]
        key = (symbol, side, run_number)
        taken[key] += fill["quantity"]
        shown[key] = max(entry[4 if side > 0 else 3] for entry in before if entry[2 if side > 0 else 1] == run_number)
    assert all(taken[key] <= shown[key] for key in taken)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=12)
def test_books_balance_on_quotes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tape, sent = random_tape(rng), random_sent(rng)
    outcome = run(sent, tape, SETTINGS)
    assert outcome.fills.height > 5
    assert_books_balance(outcome)
    assert_sizes_are_used_once(outcome, *tape)
    assert (outcome.orders["filled"] <= outcome.orders["quantity"]).all()
    filled = outcome.fills.group_by("order_id").agg(pl.col("quantity").sum())
    joined = outcome.orders.join(filled, on="order_id", how="left")
    assert (joined["filled"] == joined["quantity_right"].fill_null(0.0)).all()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_books_balance_on_bars(seed: int) -> None:
    rng = np.random.default_rng(seed)
    outcome = run(random_orders(rng, 80, 100, 2), random_minutes(rng, 100, 2), SETTINGS)
    assert_books_balance(outcome)


@given(st.integers(0, 2**32 - 1), st.integers(1, SPAN))
@settings(max_examples=15)
def test_another_future_changes_nothing_before_it(seed: int, cut: int) -> None:
    rng = np.random.default_rng(seed)
    (quoted, traded), sent = random_tape(rng), random_sent(rng)
    other_quoted, other_traded = random_tape(np.random.default_rng(seed + 1))
    whole = run(sent, (quoted, traded), SETTINGS)
    is_past = pl.col("time").dt.epoch("ns") <= OPEN_NS + cut * 10**9
    mixed = tuple(
        minutes(frames=[now.filter(is_past), other.filter(~is_past)])
        for now, other in ((quoted, other_quoted), (traded, other_traded))
    )
    ends = Tape.of((quoted.filter(is_past), traded.filter(is_past)))
    # Where the tape ends, orders that arrive after its last event meet nothing.
    is_before_end = pl.col("time").dt.epoch("ns") <= ends.last
    for other, is_before in ((run(sent, mixed, SETTINGS), is_past), (run(sent, ends, SETTINGS), is_before_end)):
        for name in ("fills", "positions", "cash_flows"):
            assert getattr(other, name).filter(is_before).equals(getattr(whole, name).filter(is_before)), name


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, SPAN), min_size=1, max_size=6))
@settings(max_examples=15)
def test_parts_equal_the_whole(seed: int, cuts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    tape, sent = Tape.of(random_tape(rng)), random_sent(rng).sort("time", maintain_order=True)
    whole = run(sent, tape, SETTINGS)
    simulation, since = Simulation(SETTINGS), 0
    for second in [*sorted(cuts), SPAN + 1]:
        until = OPEN_NS + second * 10**9
        epoch = pl.col("time").dt.epoch("ns")
        simulation.submit(sent.filter((epoch > since) & (epoch <= until)))
        simulation.advance(tape.part(since, until), min(until, tape.last))
        since = until
    parts = outcome_of(simulation)
    for name in ("fills", "positions", "equity", "cash_flows"):
        assert getattr(parts, name).equals(getattr(whole, name)), name
    assert parts.orders.filter(pl.col("state") != "waiting").equals(
        whole.orders.filter(
            pl.col("order_id").is_in(parts.orders.filter(pl.col("state") != "waiting")["order_id"].to_list())
        )
    )


@given(st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=8)
def test_events_that_reach_no_order_are_passed_over_without_a_difference(seed: int, is_bars: bool) -> None:
    rng = np.random.default_rng(seed)
    if is_bars:
        split = pl.DataFrame({"symbol": ["S0"], "time": [OPEN_NS + 40 * 60 * 10**9], "split_ratio": [0.5]})
        actions = split.with_columns(pl.col("time").cast(pl.Datetime("ns", "UTC")), dividend=pl.lit(0.1))
        tape, sent = Tape.of_bars(random_minutes(rng, 80, 2), actions=actions), random_orders(rng, 60, 80, 2)
    else:
        tape, sent = Tape.of(random_tape(rng)), random_sent(rng)
    ends = sent["time"].dt.epoch("ns") + rng.integers(10**9, 600 * 10**9, sent.height)
    sent = sent.with_columns(expires_time=ends.cast(pl.Datetime("ns", "UTC"))).sort("time", maintain_order=True)
    careful = Simulation(SETTINGS, is_bars=is_bars)
    careful.submit(sent)
    since = 0
    for until in np.unique(tape.events.time).tolist():
        careful.reaches["is_settled"] = 0
        careful.advance(tape.part(since, until), until)
        since = until
    careful.refuse_late()
    expected, found = outcome_of(careful), run(sent, tape, SETTINGS)
    assert found.fills.height
    for name in FRAMES:
        assert getattr(found, name).equals(getattr(expected, name)), name
