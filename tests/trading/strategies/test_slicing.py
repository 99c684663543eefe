"""Orders in parts: by the schedule within the cap, whole lots, and from nothing that was known later."""

import numpy as np
import polars as pl
import pytest

from tapewatch.trading.strategies.execution import ImpactModel, optimal_schedule
from tapewatch.trading.strategies.slicing import SliceRules, sliced
from tests.support.trading import at, bars, order, orders

CLOSES = (100.0, 100.2, 100.1, 100.3, 100.2, 100.4)
TAPE = bars(*[(close, close, close, close, 1000.0) for close in CLOSES])


def parts(quantity: float, rules: SliceRules, *, lot: float = 1.0, **more: object) -> pl.DataFrame:
    return sliced(orders(order("a", 360, 1, quantity, **more)), TAPE, rules, lambda _: lot)


def test_the_parts_follow_the_schedule_of_volume_and_volatility_so_far() -> None:
    found = parts(1000, SliceRules(minutes=10, risk_aversion=1e-3, participation=1.0))
    volatility = float(np.diff(CLOSES).std())
    market = ImpactModel(volatility, 0.0, 0.0, 0.5 * volatility / 1000.0)
    expected = np.diff(np.floor(np.cumsum(optimal_schedule(1000, 10.0, 10, 1e-3, market).trades) + 1e-9), prepend=0.0)
    assert found["quantity"].to_list() == pytest.approx(expected[expected > 0].tolist(), abs=1.0)
    assert found["quantity"].sum() == 1000
    assert found["quantity"][0] > found["quantity"][-1]
    assert found["order_id"].to_list()[:2] == ["a/1", "a/2"]
    assert found["time"].to_list()[:2] == [at(360), at(420)]


def test_no_part_takes_more_than_its_share_and_what_is_beyond_comes_later() -> None:
    found = parts(450, SliceRules(minutes=3, risk_aversion=0.0, participation=0.1))
    # A tenth of 1,000 a minute, and 150 a minute were wanted.
    assert found["quantity"].to_list() == [100, 100, 100, 100, 50]
    fine = parts(1.5, SliceRules(minutes=4, risk_aversion=0.0), lot=1e-8)
    assert fine["quantity"].to_list() == pytest.approx([0.375] * 4)


def test_another_future_changes_no_part() -> None:
    rules = SliceRules(minutes=5)
    later = TAPE.with_columns(pl.col("volume") * 9, pl.col("close") * 2, time=pl.col("time").dt.offset_by("6m"))
    other = pl.concat([TAPE, later.with_columns(known_time=pl.col("time").dt.offset_by("1m"))])
    sent = orders(order("a", 360, 1, 300))
    assert sliced(sent, other, rules, lambda _: 1.0).equals(sliced(sent, TAPE, rules, lambda _: 1.0))


def test_what_cannot_be_divided_stays_whole() -> None:
    rules = SliceRules(minutes=5)
    sent = orders(
        order("limit", 360, 1, 300, limit_price=99.0),
        order("early", 60, 1, 300),
        order("none", 360, -1, 300, symbol="MSFT"),
    )
    assert sliced(sent, TAPE, rules, lambda _: 1.0).equals(sent)
    assert sliced(orders(), TAPE, rules, lambda _: 1.0).is_empty()


def test_what_is_no_rule() -> None:
    with pytest.raises(ValueError, match="over 0 minutes"):
        SliceRules(minutes=0)
    with pytest.raises(ValueError, match="risk aversion must be 0 or more"):
        SliceRules(risk_aversion=float("nan"))
    with pytest.raises(ValueError, match="order a of 90,000 takes 900 minutes at 10% of the usual 1,000"):
        parts(90_000, SliceRules())
