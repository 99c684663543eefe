"""The triple barrier: worked by hand, and as properties of random paths."""

import datetime as dt
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapewatch.labels.barriers.barriers import BarrierRules, _first_touches, first_touches, triple_barrier
from tapewatch.labels.barriers.events import cusum_events
from tapewatch.market.tables.tape import BARRIER_LABELS
from tests.support.price_bars import after, bars_of, walk

#: A target of 100 bps: a minute's volatility of 50 over four minutes.
RULES = BarrierRules(vertical_minutes=4)
UPPER, LOWER = 100 * math.exp(0.01), 100 * math.exp(-0.01)


def outcome(bars: pl.DataFrame, rules: BarrierRules = RULES, through_ns: int | None = None) -> dict[str, object] | None:
    """The label of an event at the end of the first bar, at 100."""
    events = pl.DataFrame(
        {"symbol": ["AAA"], "event_time": [after(1)], "price": [100.0], "volatility_bps": [50.0]},
        schema_overrides={"event_time": pl.Datetime("ns", "UTC"), "symbol": pl.Categorical()},
    )
    labels = triple_barrier(bars, events=events, rules=rules, through_ns=through_ns)
    BARRIER_LABELS.check(labels)
    return labels.row(0, named=True) if labels.height else None


@pytest.mark.long
def test_the_upper_barrier_is_touched_by_a_high() -> None:
    label = outcome(bars_of([100, 100.2, 100.5, 100, 100], high=[100, 100.3, 101.2, 100, 100]))
    assert label is not None
    assert (label["label"], label["known_time"], label["holding_minutes"]) == (1, after(3), 2)
    assert label["return_bps"] == pytest.approx(100)
    assert label["target_bps"] == pytest.approx(100)


def test_the_lower_barrier_is_touched_by_a_low() -> None:
    label = outcome(bars_of([100, 99.9, 100, 100, 100], low=[100, 98.9, 100, 100, 100]))
    assert label is not None
    assert (label["label"], label["known_time"]) == (-1, after(2))
    assert label["return_bps"] == pytest.approx(-100)


def test_neither_in_time() -> None:
    label = outcome(bars_of([100, 100.1, 100.2, 100.3, 100.4, 105]))
    assert label is not None
    assert (label["label"], label["known_time"], label["holding_minutes"]) == (0, after(5), 4)
    assert label["return_bps"] == pytest.approx(1e4 * math.log(1.004))


def test_a_bar_that_touches_both_counts_as_the_lower() -> None:
    label = outcome(bars_of([100, 100, 100, 100, 100], high=[100, 102, 100, 100, 100], low=[100, 98, 100, 100, 100]))
    assert label is not None
    assert label["label"] == -1


def test_an_open_beyond_the_upper_barrier_came_before_the_low() -> None:
    bars = bars_of(
        [100, 100, 100, 100, 100],
        open_=[100, 102, 100, 100, 100],
        high=[100, 103, 100, 100, 100],
        low=[100, 98, 100, 100, 100],
    )
    label = outcome(bars)
    assert label is not None
    assert label["label"] == 1
    assert label["return_bps"] == pytest.approx(1e4 * math.log(1.02)), "a gap is paid at the open"


def test_a_low_of_zero_or_below_touches_the_lower_barrier() -> None:
    label = outcome(bars_of([100, 99.9, -3, 100, 100], open_=[100, 100, 99.9, -3, 100], low=[100, 99.9, -5, -3, 100]))
    assert label is not None
    assert (label["label"], label["known_time"]) == (-1, after(3))
    assert label["return_bps"] == pytest.approx(-100)


def test_an_open_of_zero_or_below_has_no_return() -> None:
    bars = bars_of([100, -3, 100, 100, 100], open_=[100, -3, 100, 100, 100], low=[100, -3, 100, 100, 100])
    assert outcome(bars) is None


def test_an_event_at_zero_or_below_has_no_label() -> None:
    bars = bars_of([-1.0, -1.1, -1.2, -1.0, -0.9, -1.0])
    events = pl.DataFrame({"symbol": ["AAA"], "event_time": [after(1)], "price": [-1.0], "volatility_bps": [50.0]})
    cast = events.cast({"event_time": pl.Datetime("ns", "UTC"), "symbol": pl.Categorical()})
    assert triple_barrier(bars, events=cast, rules=RULES).is_empty()


def test_the_events_own_bar_does_not_touch() -> None:
    label = outcome(bars_of([100] * 5, high=[110, 100, 100, 100, 100], low=[90, 100, 100, 100, 100]))
    assert label is not None
    assert label["label"] == 0


def test_barriers_lie_as_far_as_their_multiples() -> None:
    bars = bars_of([100] * 5, high=[100, 101.2, 100, 100, 100], low=[100, 99.4, 100, 100, 100])
    near_stop = outcome(bars, BarrierRules(vertical_minutes=4, profit_multiple=2.0, stop_multiple=0.5))
    assert near_stop is not None
    assert near_stop["label"] == -1
    assert near_stop["return_bps"] == pytest.approx(-50)


@pytest.mark.parametrize(("multiple", "label"), [(1.9, 1), (2.0, 1), (2.01, 0), (0.5, 1)])
def test_the_upper_barrier_lies_as_many_targets_above_as_the_profit_multiple(multiple: float, label: int) -> None:
    high = 100 * math.exp(0.02 + 1e-12)
    found = outcome(
        bars_of([100] * 5, high=[100, 100, high, 100, 100]), BarrierRules(vertical_minutes=4, profit_multiple=multiple)
    )
    assert found is not None
    assert found["label"] == label
    assert found["return_bps"] == pytest.approx(100 * multiple if label else 0)


@pytest.mark.parametrize(("multiple", "label"), [(1.9, -1), (2.0, -1), (2.01, 0), (0.5, -1)])
def test_the_lower_barrier_lies_as_many_targets_below_as_the_stop_multiple(multiple: float, label: int) -> None:
    low = 100 * math.exp(-0.02 - 1e-12)
    found = outcome(
        bars_of([100] * 5, low=[100, 100, low, 100, 100]), BarrierRules(vertical_minutes=4, stop_multiple=multiple)
    )
    assert found is not None
    assert found["label"] == label
    assert found["return_bps"] == pytest.approx(-100 * multiple if label else 0)


@pytest.mark.parametrize(("volatility", "target"), [(50.0, 100.0), (2.5, 5.0), (2.4, 5.0), (0.0, 5.0)])
def test_the_target_is_never_below_its_floor(volatility: float, target: float) -> None:
    events = pl.DataFrame(
        {"symbol": ["AAA"], "event_time": [after(1)], "price": [100.0], "volatility_bps": [volatility]},
        schema_overrides={"event_time": pl.Datetime("ns", "UTC"), "symbol": pl.Categorical()},
    )
    (label,) = triple_barrier(bars_of([100] * 6), events=events, rules=RULES)["target_bps"]
    assert label == pytest.approx(target)


def test_prices_on_a_barrier_touch_it() -> None:
    """An open exactly on a barrier counts as a gap, a high or low exactly on it as a touch."""
    upper, lower = float(100.0 * np.exp(0.01)), float(100.0 * np.exp(-0.01))
    for name, price, label in (("open_", upper, 1), ("high", upper, 1), ("open_", lower, -1), ("low", lower, -1)):
        prices = [100.0, 100.0, price, 100.0, 100.0]
        found = outcome(bars_of([100] * 5, **{name: prices}))
        assert found is not None
        assert (found["label"], found["known_time"]) == (label, after(3)), name
        assert found["return_bps"] == pytest.approx(100 * label)


def test_a_bar_that_opens_below_the_lower_barrier_is_left_at_its_open() -> None:
    found = outcome(bars_of([100, 97, 100, 100, 100], open_=[100, 97, 100, 100, 100]))
    assert found is not None
    assert (found["label"], found["known_time"]) == (-1, after(2))
    assert found["return_bps"] == pytest.approx(1e4 * math.log(0.97))


@pytest.mark.parametrize("price", [0.5, 1.0])
def test_prices_below_one_are_prices(price: float) -> None:
    """Only zero and below have no logarithm."""
    events = pl.DataFrame(
        {"symbol": ["AAA"], "event_time": [after(1)], "price": [price], "volatility_bps": [50.0]},
        schema_overrides={"event_time": pl.Datetime("ns", "UTC"), "symbol": pl.Categorical()},
    )
    labels = triple_barrier(bars_of([price, price * 1.02] + [price] * 4), events=events, rules=RULES)
    assert labels["label"].to_list() == [1]
    assert triple_barrier(bars_of([0.0] * 6), events=events.with_columns(price=0.0), rules=RULES).is_empty()


def test_a_bar_that_opens_at_exactly_zero_leaves_the_event_out() -> None:
    bars = bars_of([100, 0, 100, 100, 100], open_=[100, 0, 100, 100, 100], low=[100, 0, 100, 100, 100])
    assert outcome(bars) is None


def test_a_tape_that_ends_before_the_deadline_has_no_outcome() -> None:
    bars = bars_of([100] * 6)
    assert outcome(bars) is not None
    assert outcome(bars, through_ns=0) is None
    deadline = int(after(5).timestamp()) * 1_000_000_000
    assert outcome(bars, through_ns=deadline - 1) is None
    assert outcome(bars, through_ns=deadline) is not None


def test_an_outcome_not_known_at_the_tapes_end_is_no_label() -> None:
    quiet = bars_of([100, 100, 100, 100])
    assert outcome(quiet) is None
    label = outcome(quiet, through_ns=int(after(5).timestamp()) * 1_000_000_000)
    assert label is not None
    assert (label["label"], label["known_time"]) == (0, after(5))


def test_the_vertical_barrier_counts_minutes_not_bars() -> None:
    label = outcome(bars_of([100, 100.1, 103], minutes=[0, 1, 9]))
    assert label is not None
    assert (label["label"], label["known_time"]) == (0, after(5))
    assert label["return_bps"] == pytest.approx(1e4 * math.log(1.001))


def test_an_event_of_another_symbol_is_left_out() -> None:
    events = cusum_events(walk(1))
    assert events.height
    assert triple_barrier(walk(1, symbol="BBB"), events=events).is_empty()


def test_symbols_are_labelled_as_if_alone() -> None:
    one, two = walk(1), walk(2, symbol="BBB")
    together = triple_barrier(pl.concat([two, one]))
    alone = pl.concat([triple_barrier(one), triple_barrier(two)])
    assert together.equals(alone)
    assert together["symbol"].n_unique() == 2


def test_impossible_barriers_are_refused() -> None:
    for name in ("vertical_minutes", "profit_multiple", "stop_multiple", "volatility_span"):
        with pytest.raises(ValueError, match="positive"):
            BarrierRules(**{name: 0})
    assert BarrierRules(vertical_minutes=1, profit_multiple=0.5).profit_multiple == 0.5


@pytest.mark.long
@given(seed=st.integers(0, 10_000), cut=st.integers(30, 199))
@settings(max_examples=40, deadline=None)
def test_a_shorter_tape_only_takes_labels_away(seed: int, cut: int) -> None:
    bars = walk(seed)
    rules = BarrierRules(vertical_minutes=15)
    whole = triple_barrier(bars, rules=rules)
    cut_at = bars["time"][cut - 1] + dt.timedelta(minutes=1)
    assert triple_barrier(bars.head(cut), rules=rules).equals(whole.filter(pl.col("known_time") <= cut_at))


@given(seed=st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_what_comes_after_known_time_does_not_matter(seed: int) -> None:
    bars = walk(seed)
    labels = triple_barrier(bars, rules=BarrierRules(vertical_minutes=15))
    for row in labels.head(3).iter_rows(named=True):
        late = pl.col("time") >= row["known_time"]
        wild = bars.with_columns(
            (pl.when(late).then(pl.col(name) * 3).otherwise(name)).alias(name)
            for name in ("open", "high", "low", "close")
        )
        again = triple_barrier(wild, rules=BarrierRules(vertical_minutes=15))
        assert again.filter(pl.col("event_time") == row["event_time"]).row(0, named=True) == row


@given(seed=st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_labels_against_a_plain_reading(seed: int) -> None:
    bars = walk(seed)
    rules = BarrierRules(vertical_minutes=15)
    events = cusum_events(bars)
    labels = triple_barrier(bars, events=events, rules=rules).rows_by_key("event_time", named=True, unique=True)
    rows = bars.with_columns(end=pl.col("time") + pl.duration(minutes=1)).rows(named=True)
    for event in events.iter_rows(named=True):
        target = max(event["volatility_bps"] * math.sqrt(15), rules.floor_bps) / 1e4
        upper, lower = event["price"] * math.exp(target), event["price"] * math.exp(-target)
        deadline = event["event_time"] + dt.timedelta(minutes=15)
        touch = next(
            (
                r
                for r in rows
                if event["event_time"] < r["end"] <= deadline and (r["high"] >= upper or r["low"] <= lower)
            ),
            None,
        )
        found = labels.get(event["event_time"])
        if touch is not None:
            is_up = touch["open"] >= upper or (touch["low"] > lower and touch["open"] > lower)
            assert (found["label"], found["known_time"]) == (1 if is_up else -1, touch["end"])
        elif rows[-1]["end"] >= deadline:
            assert (found["label"], found["known_time"]) == (0, deadline)
        else:
            assert found is None


def test_arrays_of_any_order_are_searched_by_one_kernel() -> None:
    prices = np.array([[100.0, 101.0, 99.0, 100.0], [100.0, 103.0, 99.0, 102.0]])
    ends, event, price = np.array([1, 2]), np.array([0]), np.array([100.0])
    windows, distances = np.array([[0, 2]]), np.array([[0.02, 0.02]])
    read_only = np.asfortranarray(prices)
    read_only.flags.writeable = False
    every_other = np.repeat(ends, 2)[::2]
    found = [
        first_touches(ohlc, end_ns, windows, event, price, distances, 10, -1)
        for ohlc in (prices, np.asfortranarray(prices), read_only)
        for end_ns in (ends, every_other)
    ]
    assert all([each.tolist() for each in one] == [[1], [0.02], [2]] for one in found)
    assert prices.flags.writeable
    assert len({tuple(map(str, signature)) for signature in _first_touches.signatures}) == 1  # type: ignore[attr-defined]
