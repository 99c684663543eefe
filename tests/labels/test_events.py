"""The CUSUM filter and its volatility: by hand, against a plain reading, and without a look ahead."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapewatch.labels.barriers.events import cusum_events, cusum_sides
from tapewatch.labels.barriers.volatility import WARM_UP_RETURNS, minute_volatility, usable_bars
from tapewatch.market.instruments import NS_PER_MINUTE
from tapewatch.market.tables.tape import TIME
from tests.support.price_bars import after, bars_of, walk
from tests.support.tapes import stock_session

STEP = 0.001


def sides(moves: list[float], threshold: float, *, gap_before: int | None = None) -> list[int]:
    """Sides of a path with these log moves; before move `gap_before` lies a long silence."""
    close = np.exp(np.cumsum([0.0, *moves]))
    start = np.arange(close.size) * NS_PER_MINUTE
    if gap_before is not None:
        start[gap_before + 1 :] += 90 * NS_PER_MINUTE
    offsets = np.array([0, close.size])
    return cusum_sides(close, start, offsets, np.full(close.size, threshold)).tolist()[1:]


def test_sums_reach_the_threshold_and_start_again() -> None:
    # up: 1, 2, 3 (event, 0), 1 ... down: -1, -2, -3 (event)
    assert sides([STEP] * 4 + [-STEP] * 3, 2.9 * STEP) == [0, 0, 1, 0, 0, 0, -1]


def test_a_sum_resets_at_zero() -> None:
    # Without the reset at zero, five steps down would have to be climbed back first.
    assert sides([-STEP] * 2 + [STEP] * 3, 2.9 * STEP) == [0, 0, 0, 0, 1]


def test_sums_restart_after_a_long_silence() -> None:
    assert sides([STEP] * 4, 2.9 * STEP, gap_before=2) == [0, 0, 0, 0]


def test_sums_restart_with_each_symbol() -> None:
    close = np.exp([0.0, STEP, 2 * STEP, 0.0, STEP, 2 * STEP])
    start = np.tile(np.arange(3) * NS_PER_MINUTE, 2)
    both = cusum_sides(close, start, np.array([0, 3, 6]), np.full(6, 2.9 * STEP))
    assert both.tolist() == [0] * 6


def test_volatility_against_weights_written_out() -> None:
    moves = np.random.default_rng(0).normal(0, STEP, 40)
    close = np.exp(np.cumsum(np.concatenate([[0.0], moves])))
    start = np.arange(close.size) * NS_PER_MINUTE
    found = minute_volatility(close, start, np.array([0, close.size]), 20.0)
    assert np.isnan(found[:WARM_UP_RETURNS]).all()
    for i in range(WARM_UP_RETURNS, close.size):
        weights = (1 - 2 / 21) ** np.arange(i)[::-1]
        assert found[i] == pytest.approx(np.sqrt(np.average(moves[:i] ** 2, weights=weights)))


def test_volatility_agrees_with_polars_exponential_mean() -> None:
    bars = walk(3, gaps=False)
    close = bars["close"].to_numpy()
    found = minute_volatility(close, np.arange(close.size) * NS_PER_MINUTE, np.array([0, close.size]), 30.0)
    squares = bars.select((pl.col("close") / pl.col("close").shift(1)).log() ** 2).to_series()[1:]
    np.testing.assert_allclose(
        found[WARM_UP_RETURNS:], np.sqrt(squares.ewm_mean(span=30.0).to_numpy())[WARM_UP_RETURNS - 1 :]
    )


def test_an_event_is_known_at_its_bars_end_and_a_jump_does_not_raise_its_own_threshold() -> None:
    close = [100 + 0.01 * (i % 2) for i in range(30)] + [103.0] + [103 + 0.01 * (i % 2) for i in range(5)]
    events = cusum_events(bars_of(close))
    assert events["event_time"].to_list() == [after(31)]
    assert events["side"].to_list() == [1]
    assert events["price"].to_list() == [103.0]


def test_only_regular_bars_count_when_a_session_is_given() -> None:
    bars = walk(1, 400, gaps=False).with_columns(pl.col("time") - pl.duration(hours=3))
    kept = usable_bars(bars, stock_session())
    assert 0 < kept.height < bars.height
    assert kept["time"].dt.epoch("ns").min() >= stock_session().regular_start


def test_regular_bars_include_the_open_and_exclude_the_close() -> None:
    session = stock_session()
    starts = [session.regular_start - NS_PER_MINUTE, session.regular_start, session.regular_end - NS_PER_MINUTE]
    bars = bars_of([1, 2, 3, 4]).with_columns(time=pl.Series([*starts, session.regular_end]).cast(TIME))
    assert usable_bars(bars, session)["close"].to_list() == [2, 3]
    assert usable_bars(bars, None)["close"].to_list() == [1, 2, 3, 4]


def test_an_hour_of_silence_is_bridged_and_a_longer_one_is_not() -> None:
    moves = np.full(2 * WARM_UP_RETURNS, STEP)
    close = np.exp(np.cumsum(np.concatenate([[0.0], moves])))
    for silence, is_bridged in ((60, True), (61, False)):
        start = np.arange(close.size) * NS_PER_MINUTE
        start[WARM_UP_RETURNS + 1 :] += (silence - 1) * NS_PER_MINUTE
        found = minute_volatility(close, start, np.array([0, close.size]), 20.0)
        assert np.isfinite(found[WARM_UP_RETURNS + 1]) == is_bridged
        both = cusum_sides(close, start, np.array([0, close.size]), np.full(close.size, 10.5 * STEP))
        assert (both[11] == 1) == is_bridged
        assert both.sum() == (1 if is_bridged else 0)


def test_volatility_begins_anew_with_each_symbol() -> None:
    close = walk(3, 40, gaps=False)["close"].to_numpy()
    start = np.tile(np.arange(20), 2) * NS_PER_MINUTE
    together = minute_volatility(close, start, np.array([0, 20, 40]), 20.0)
    alone = [minute_volatility(part, start[:20], np.array([0, 20]), 20.0) for part in (close[:20], close[20:])]
    np.testing.assert_array_equal(together, np.concatenate(alone))
    assert np.isnan(together[20 : 20 + WARM_UP_RETURNS]).all()


def test_prices_below_one_have_logarithms() -> None:
    bars = walk(5, gaps=False)
    prices = ("open", "high", "low", "close")
    events = cusum_events(bars, multiple=2.0)
    small = cusum_events(bars.with_columns(pl.col(prices) / 512), multiple=2.0)
    assert small.drop("price", "volatility_bps").equals(events.drop("price", "volatility_bps"))
    assert events.height > 3


def test_a_sum_that_exactly_reaches_the_threshold_is_an_event() -> None:
    close = np.array([1.0, 2.0, 1.0, 1.0])
    limit = np.full(4, np.log(2.0))
    found = cusum_sides(close, np.arange(4) * NS_PER_MINUTE, np.array([0, 4]), limit)
    assert found.tolist() == [0, 1, -1, 0]


@pytest.mark.parametrize(
    ("step", "multiple", "side"),
    [(4.3e-4, 4.0, 1), (-4.3e-4, 4.0, -1), (4.1e-4, 4.0, 0), (2.2e-4, 2.0, 1), (2e-4, 2.0, 0)],
)
def test_the_threshold_is_the_multiple_of_a_volatility_not_below_the_floor(step, multiple, side) -> None:
    """Alternating steps of 0.01 bps leave the volatility below the floor, which is 1.05 bps here."""
    quiet = [100 * np.exp(1e-6 * (i % 2)) for i in range(30)]
    events = cusum_events(bars_of([*quiet, quiet[-1] * np.exp(step)]), multiple=multiple, floor_bps=1.05)
    assert events["side"].to_list() == ([side] if side else [])


def test_the_volatility_of_an_event_is_in_basis_points() -> None:
    bars = walk(1, gaps=False)
    close = bars["close"].to_numpy()
    known = minute_volatility(close, np.arange(close.size) * NS_PER_MINUTE, np.array([0, close.size]), 60.0)
    events = cusum_events(bars)
    at = [bars["time"].to_list().index(time) for time in events["event_time"].dt.offset_by("-1m")]
    np.testing.assert_allclose(events["volatility_bps"], 1e4 * known[at])


def test_prices_of_zero_and_below_break_the_series() -> None:
    close = np.exp([0.0, STEP, 2 * STEP, 3 * STEP, 4 * STEP, 5 * STEP, 6 * STEP])
    close[3] = -1.0
    start, offsets = np.arange(close.size) * NS_PER_MINUTE, np.array([0, close.size])
    found = cusum_sides(close, start, offsets, np.full(close.size, 1.9 * STEP))
    assert found.tolist() == [0, 0, 1, 0, 0, 0, 1]
    long = np.concatenate([np.exp(np.cumsum(np.full(20, STEP))), [0.0], np.exp(np.cumsum(np.full(11, STEP)))])
    volatility = minute_volatility(long, np.arange(long.size) * NS_PER_MINUTE, np.array([0, long.size]), 20.0)
    assert np.flatnonzero(np.isfinite(volatility)).tolist() == [*range(WARM_UP_RETURNS, 20), long.size - 1]


def test_events_of_a_path_through_zero_have_prices_above_it() -> None:
    path = np.round(np.cos(np.linspace(0, 20, 300)) * 0.4 + 0.1, 2)
    events = cusum_events(bars_of(path.tolist()))
    assert events.height > 0
    assert events["price"].min() > 0
    assert np.isfinite(events["volatility_bps"].to_numpy()).all()


@given(seed=st.integers(0, 10_000), cut=st.integers(20, 199))
@settings(max_examples=40, deadline=None)
def test_events_do_not_look_ahead(seed: int, cut: int) -> None:
    bars = walk(seed)
    whole = cusum_events(bars, multiple=2.0)
    early = cusum_events(bars.head(cut), multiple=2.0)
    assert early.equals(whole.filter(pl.col("event_time") <= bars["time"][cut - 1] + pl.duration(minutes=1)))


def test_a_multiple_or_span_that_is_not_positive_is_refused() -> None:
    for nonsense in ({"multiple": 0}, {"span": 0}, {"multiple": -1}):
        with pytest.raises(ValueError, match="positive"):
            cusum_events(bars_of([1.0]), **nonsense)
    assert cusum_events(bars_of([1.0]), multiple=0.5, span=1).is_empty()


def test_no_bars_no_events() -> None:
    assert cusum_events(bars_of([])).is_empty()
