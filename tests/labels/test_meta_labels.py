"""Bets on a side: by hand, and as mirror images of each other."""

import math

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapewatch.labels.barriers.barriers import BarrierRules, triple_barrier
from tapewatch.labels.barriers.events import cusum_events
from tapewatch.labels.barriers.meta_labels import meta_labels
from tapewatch.market.tables.labels import META_LABELS
from tests.support.price_bars import after, bars_of, walk

#: A target of 100 bps; profit at 200, stop at 100.
RULES = BarrierRules(vertical_minutes=4, profit_multiple=2.0)


def outcome(bars: pl.DataFrame, side: int) -> tuple[int, int, float]:
    """Label, barrier and return of a bet at the end of the first bar, at 100."""
    events = pl.DataFrame(
        {"symbol": ["AAA"], "event_time": [after(1)], "price": [100.0], "volatility_bps": [50.0], "side": [side]},
        schema_overrides={"event_time": pl.Datetime("ns", "UTC"), "symbol": pl.Categorical(), "side": pl.Int8()},
    )
    found = meta_labels(bars, events=events, rules=RULES)
    META_LABELS.check(found)
    row = found.row(0, named=True)
    return row["label"], row["barrier"], row["return_bps"]


def test_a_short_bet_wins_by_a_fall() -> None:
    bars = bars_of([100, 99.5, 97.9, 98, 98], open_=[100, 100, 99.5, 98, 98], low=[100, 99.4, 97.5, 98, 98])
    assert outcome(bars, -1) == (1, 1, pytest.approx(200))
    assert outcome(bars, 1) == (0, -1, pytest.approx(-100))


def test_a_bar_that_touches_both_stops_either_bet() -> None:
    bars = bars_of([100] * 5, high=[100, 103, 100, 100, 100], low=[100, 97, 100, 100, 100])
    assert outcome(bars, 1)[:2] == (0, -1)
    assert outcome(bars, -1)[:2] == (0, -1)


def test_a_bet_that_ends_in_time_wins_by_its_sign() -> None:
    bars = bars_of([100, 100.1, 100.2, 100.3, 100.4])
    assert outcome(bars, 1) == (1, 0, pytest.approx(1e4 * math.log(1.004)))
    assert outcome(bars, -1) == (0, 0, pytest.approx(-1e4 * math.log(1.004)))


def test_a_price_at_zero_pays_a_short_bet() -> None:
    assert outcome(bars_of([100, 99.9, 0, 1, 1], open_=[100, 100, 99.9, 1, 1]), -1)[:2] == (1, 1)


def test_an_unknown_side_is_refused() -> None:
    with pytest.raises(ValueError, match="is 3: write 1 or -1"):
        outcome(bars_of([100] * 5), 3)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000))
def test_bets_agree_with_the_triple_barrier_and_its_mirror_image(seed: int) -> None:
    bars = walk(seed)
    rules = BarrierRules(vertical_minutes=10, profit_multiple=1.5)
    events = cusum_events(bars, multiple=2.0)
    bets = meta_labels(bars, events=events, rules=rules)
    META_LABELS.check(bets)
    plain = triple_barrier(bars, events=events, rules=rules)
    long = events.filter(side=1).join(plain, on=["symbol", "event_time"])
    assert bets.filter(side=1).height == long.height
    up = bets.filter(side=1).join(plain, on=["symbol", "event_time"], suffix="_plain")
    assert (up["barrier"] == up["label_plain"]).all()
    inverse = bars.with_columns(
        open=1 / pl.col("open"), high=1 / pl.col("low"), low=1 / pl.col("high"), close=1 / pl.col("close")
    )
    mirrored = meta_labels(
        inverse, events=events.with_columns(side=-pl.col("side"), price=1 / pl.col("price")), rules=rules
    )
    assert bets["label"].equals(mirrored["label"])
    assert bets["return_bps"].to_list() == pytest.approx(mirrored["return_bps"].to_list())
