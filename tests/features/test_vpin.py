"""VPIN against a plain computation from its definition, one unit of volume at a time."""

from collections import deque

import numpy as np
import pytest

from tapewatch.features.microstructure import microstructure
from tests.support.sides import aggressor_sides
from tests.support.tapes import stock_session, tape_of

SESSION = stock_session()
MINUTES = 150


def plain_vpin(rows: list[tuple[float, int, float]]) -> list[float | None]:
    """VPIN at the end of each minute of (seconds, side, size): buckets hold single units of volume."""
    buckets: deque[tuple[int, int]] = deque(maxlen=50)
    history: deque[float] = deque(maxlen=30)
    held: list[int] = []
    capacity = 0
    values = []
    for minute in range(MINUTES):
        units = [
            side for at, side, size in rows if minute * 60 <= at < minute * 60 + 60 and side for _ in range(int(size))
        ]
        for side in units:
            if not capacity and history:
                capacity = int(sum(history) / len(history))
            if not capacity:
                continue
            held.append(side)
            if len(held) == capacity:
                buckets.append((abs(sum(held)), capacity))
                held, capacity = [], 0
        history.append(len(units))
        values.append(sum(b[0] for b in buckets) / sum(b[1] for b in buckets) if len(buckets) == 50 else None)
    return values


@pytest.mark.parametrize("seed", range(3))
def test_vpin_equals_its_definition(seed) -> None:
    generator = np.random.default_rng(seed)
    # Every minute trades the same volume in lots of another size: the mean, and so each bucket, is a whole number.
    trades = []
    for minute in range(MINUTES):
        cuts = np.sort(generator.choice(np.arange(1, 240), 7, replace=False))
        sizes = np.diff(np.concatenate(([0], cuts, [240])))
        prices = 10 + generator.choice([-0.02, 0.02], 8, p=[0.3, 0.7])
        trades += [
            (minute * 60 + 7 * i, price, size) for i, (price, size) in enumerate(zip(prices, sizes, strict=True))
        ]
    trades += [(MINUTES * 60 - 1, 10.02, 240 * 3 + 17)]
    tape, quotes = tape_of(trades, [(-1, 9.99, 10.01)])
    sides = aggressor_sides(tape, quotes, SESSION)
    rows = [(trade[0], side, trade[2]) for trade, side in zip(trades, sides, strict=True)]
    found = microstructure(tape, quotes, SESSION).filter("is_regular")["vpin"].to_list()[:MINUTES]
    expected = plain_vpin(rows)
    assert [value is None for value in found] == [value is None for value in expected]
    assert [value for value in found if value is not None] == pytest.approx([v for v in expected if v is not None])


def vpin_of(trades: list[tuple]) -> dict[int, float | None]:
    """VPIN by session minute."""
    rows = microstructure(*tape_of(trades, [(-6000, 9.99, 10.01)]), SESSION)
    return dict(rows.select("session_minute", "vpin").rows())


def test_one_sided_flow_is_one_and_balanced_flow_is_zero() -> None:
    one_sided = vpin_of([(second, 10.01, 10) for second in range(0, 6000, 5)])
    assert one_sided[50] is not None
    assert one_sided[49] is None
    assert one_sided[60] == 1
    balanced = vpin_of([(second, 10.01 - 0.02 * (second % 2), 10) for second in range(6000)])
    assert balanced[60] == 0


@pytest.mark.parametrize("seed", [17, 41, 42])
def test_rounding_leaves_no_vpin_above_one(seed: int) -> None:
    """One-sided flow in sizes that fill no bucket exactly: sums of its imbalances may exceed those of its capacities by a bit."""
    sizes = np.random.default_rng(seed).uniform(0.1, 300, 900)
    found = vpin_of([(23 * at, 10.01, size) for at, size in enumerate(sizes)])
    known = [value for value in found.values() if value is not None]
    assert len(known) > 100
    assert max(known) <= 1
    assert min(known) > 1 - 1e-12


def test_one_trade_may_fill_many_buckets() -> None:
    """As one trade or as a thousand in the same instant: the buckets are the same."""
    before = [(second, 10.01 - 0.02 * (second % 2), 10) for second in range(120)]
    one = vpin_of([*before, (121, 10.01, 1_000_000)])
    many = vpin_of([*before, *([(121, 10.01, 1000)] * 1000)])
    assert one[2] == 1
    assert one == pytest.approx(many)


def test_buckets_do_not_reach_across_the_open() -> None:
    values = vpin_of([(second, 10.01, 10) for second in range(-5400, 600)])
    assert values[-10] == 1
    assert all(values[minute] is None for minute in range(10))
