"""The tape's clock under skew, silence, leaps, jumps of the wall clock, and the change to summer time."""

import datetime as dt
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapewatch.market.instruments import NEW_YORK, NS_PER_MINUTE, NS_PER_SECOND
from tapewatch.streaming.live.clock import LATENESS_NS, TapeClock

HOUR = 60 * NS_PER_MINUTE
START = int(dt.datetime(2024, 3, 8, 15, tzinfo=dt.UTC).timestamp()) * NS_PER_SECOND
EIGHT_YEARS = 8 * 365 * 24 * HOUR


@dataclass
class Clocks:
    """A wall clock and a steady clock that the test moves."""

    wall: int = START
    steady: int = 1_000 * NS_PER_SECOND

    def sleep(self, ns: int) -> None:
        self.wall += ns
        self.steady += ns


def clock_over(clocks: Clocks, *, delay_ns: int = 0) -> TapeClock:
    return TapeClock(delay_ns=delay_ns, wall=lambda: clocks.wall, steady=lambda: clocks.steady)


def times(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def live(clocks: Clocks, delay_ns: int = 0) -> TapeClock:
    """A clock that has followed a live tape for a minute."""
    clock = clock_over(clocks, delay_ns=delay_ns)
    for _ in range(60):
        clocks.sleep(NS_PER_SECOND)
        clock.observe(times(clocks.wall - delay_ns))
    return clock


def replayed(clocks: Clocks) -> tuple[TapeClock, int]:
    """A clock that has followed a tape eight years old with one event a second, and the tape's time."""
    clock, tape = clock_over(clocks), START - EIGHT_YEARS
    for _ in range(100):
        tape += NS_PER_SECOND
        clock.observe(times(tape))
    return clock, tape


def test_has_no_time_before_the_first_event() -> None:
    clock = clock_over(Clocks())
    assert clock.now() is None
    assert clock.watermark() is None
    assert clock.newest_ns is None


@pytest.mark.parametrize("delay_ns", [0, 15 * NS_PER_MINUTE])
def test_a_live_tape_advances_without_events(delay_ns: int) -> None:
    clocks = Clocks()
    clock = live(clocks, delay_ns)
    assert clock.is_live
    clocks.sleep(10 * NS_PER_MINUTE)
    assert clock.watermark() == clocks.wall - delay_ns - LATENESS_NS


def test_a_replayed_tape_stands_still_without_events() -> None:
    clocks = Clocks()
    clock, tape = replayed(clocks)
    before = clock.now()
    clocks.sleep(10 * NS_PER_MINUTE)
    assert not clock.is_live
    assert clock.now() == before
    assert clock.newest_ns == tape


@pytest.mark.parametrize("skew", [HOUR, 365 * 24 * HOUR])
def test_skewed_events_do_not_drag_the_watermark(skew: int) -> None:
    clocks = Clocks()
    clock = live(clocks)
    for second in range(120):
        clocks.sleep(NS_PER_SECOND)
        clock.observe(times(clocks.wall + skew if second % 3 == 0 else clocks.wall))
        assert clock.now() <= clocks.wall
        assert clock.newest_ns <= clocks.wall


def test_a_burst_of_skewed_events_does_not_drag_the_watermark() -> None:
    clocks = Clocks()
    clock, tape = replayed(clocks)
    clock.observe(np.full(200, tape + HOUR))
    assert not clock.is_settled
    clock.observe(tape + np.arange(100) * NS_PER_SECOND // 10)
    assert clock.is_settled
    assert clock.now() <= tape + 10 * NS_PER_SECOND


def test_a_single_skewed_event_at_the_start_is_not_accepted() -> None:
    clocks = Clocks()
    clock = clock_over(clocks)
    clock.observe(times(clocks.wall + HOUR))
    clocks.sleep(NS_PER_MINUTE // 2)
    assert clock.now() is None
    clock.observe(np.full(40, clocks.wall))
    assert clock.now() == clocks.wall


def test_a_batch_may_span_many_minutes() -> None:
    clock, tape = replayed(Clocks())
    batch = tape + np.arange(1, 61) * 30 * NS_PER_SECOND
    clock.observe(batch)
    assert clock.is_settled
    assert clock.now() == batch[-16]


def test_a_leap_is_accepted_once_it_lasts() -> None:
    clocks = Clocks()
    clock, tape = replayed(clocks)
    tape += HOUR
    clock.observe(np.full(40, tape))
    assert clock.now() < tape
    clocks.sleep(3 * NS_PER_SECOND)
    assert clock.now() == tape

    tape += HOUR
    clock.observe(np.full(600, tape))
    assert clock.now() < tape, "they may all be of one frame"
    clock.observe(np.full(600, tape))
    assert clock.now() == tape


def test_a_wall_clock_that_jumps_moves_nothing() -> None:
    clocks = Clocks()
    clock = live(clocks)
    before = clock.watermark()
    clocks.wall += 2 * HOUR
    assert clock.watermark() == before
    clocks.sleep(NS_PER_SECOND)
    tape = clocks.wall - 2 * HOUR
    clock.observe(times(tape))
    assert clock.is_live
    clocks.wall -= 5 * HOUR
    clocks.sleep(NS_PER_MINUTE)
    assert clock.watermark() == tape + NS_PER_MINUTE - LATENESS_NS


def test_a_machine_that_slept_catches_up_with_the_tape() -> None:
    clocks = Clocks()
    clock = live(clocks)
    clocks.wall += 8 * HOUR
    for _ in range(60):
        clocks.sleep(NS_PER_SECOND)
        clock.observe(times(clocks.wall))
    assert clock.is_live
    assert clock.now() == clocks.wall


def test_the_change_to_summer_time_in_new_york_has_no_effect() -> None:
    night = dt.datetime(2024, 3, 10, 1, 58, tzinfo=NEW_YORK)
    clocks = Clocks(wall=int(night.timestamp()) * NS_PER_SECOND)
    clock = live(clocks)
    watermarks = []
    for _ in range(300):
        clocks.sleep(NS_PER_SECOND)
        clock.observe(times(clocks.wall))
        watermarks.append(clock.watermark())
    assert np.diff(watermarks).tolist() == [NS_PER_SECOND] * 299


@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(START - 10 * HOUR, START + 10 * HOUR), max_size=40),
            st.integers(0, 20 * NS_PER_SECOND),
            st.integers(-HOUR, HOUR),
        ),
        max_size=40,
    )
)
def test_never_moves_backwards(steps: list[tuple[list[int], int, int]]) -> None:
    clocks = Clocks()
    clock = clock_over(clocks)
    last = None
    for events, pause, jump in steps:
        clocks.sleep(pause)
        clocks.wall += jump
        clock.observe(np.array(events, np.int64))
        mark = clock.watermark()
        assert last is None or (mark is not None and mark >= last)
        last = mark


@pytest.mark.long
@given(st.lists(st.integers(0, 1), min_size=60, max_size=400), st.integers(1, 64))
def test_follows_a_dense_tape_whatever_the_size_of_batches(steps: list[int], size: int) -> None:
    tape = START - EIGHT_YEARS + np.cumsum(np.array(steps, np.int64)) * NS_PER_SECOND
    clock = clock_over(Clocks())
    for first in range(0, tape.size, size):
        clock.observe(tape[first : first + size])
    assert tape[-31] <= clock.now() <= tape[-1]
    assert clock.newest_ns == tape[-1]
