"""The gaps opened for interruptions of a stream: their bounds follow the tape's clock and are never too narrow."""

import datetime as dt
from dataclasses import dataclass, field

import numpy as np

from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Market, Partition
from tapewatch.streaming.gaps.interruptions import Interruptions, missed_stretches
from tapewatch.streaming.live.clock import TapeClock

HOUR = 60 * NS_PER_MINUTE
CRYPTO = Partition(dt.date(2024, 3, 5), Market.CRYPTO).session
STOCKS = Partition(dt.date(2024, 3, 5), Market.STOCKS).session
MONDAY = Partition(dt.date(2024, 3, 4), Market.STOCKS).session
FRIDAY = Partition(dt.date(2024, 3, 1), Market.STOCKS).session


@dataclass
class Book:
    """Gaps as they were opened: cause to [start, end]."""

    gaps: list[list] = field(default_factory=list)

    def open_gap(self, cause, *, start_ns, end_ns=None, channel="all", reason=None) -> None:
        self.gaps.append([cause, start_ns, end_ns])

    def bound_gaps(self, end_ns, *, cause=None) -> None:
        for gap in self.gaps:
            if gap[2] is None and cause in (None, gap[0]):
                gap[2] = end_ns


class Stream:
    """A replayed stream with one event a second; the test moves its clocks."""

    def __init__(self, start: int, *, last_ns: int | None = None, market: Market = Market.CRYPTO) -> None:
        self.steady_s, self.tape, self.book = 100.0, start, Book()
        self.clock = TapeClock(wall=lambda: start + 10**17, steady=lambda: int(self.steady_s * 1e9))
        self.watched = Interruptions(market, self.clock, self.book, last_ns=last_ns, steady=lambda: self.steady_s)
        self.watched.connected([])

    def send(self, events: int) -> None:
        times = self.tape + np.arange(events) * NS_PER_SECOND
        self.tape += events * NS_PER_SECOND
        self.take(times)

    def take(self, times: np.ndarray) -> None:
        self.clock.observe(times)
        self.watched.saw(times)


def begun(start: int = CRYPTO.day_start) -> Stream:
    stream = Stream(start)
    stream.send(300)
    return stream


def test_a_punctual_start_opens_no_gap() -> None:
    stream = begun()
    assert stream.watched.is_whole
    assert not stream.book.gaps


def test_the_tail_of_a_session_that_ended_without_a_collector_is_a_gap_even_if_no_event_follows() -> None:
    last = STOCKS.regular_start + HOUR
    stream = Stream(STOCKS.day_end, last_ns=last, market=Market.STOCKS)
    stream.watched.tick()
    assert not stream.book.gaps, "a replay would continue at once"
    stream.steady_s += 31
    stream.watched.tick()
    assert stream.book.gaps == [["restart", last - 10 * NS_PER_SECOND, STOCKS.extended_end]]
    stream.watched.tick()
    assert len(stream.book.gaps) == 1
    # The next session begins on time: nothing else is missing.
    stream.tape = Partition(dt.date(2024, 3, 6), Market.STOCKS).session.extended_start
    stream.send(300)
    assert len(stream.book.gaps) == 1


def test_a_session_that_still_runs_has_no_tail_yet() -> None:
    last = STOCKS.regular_start + HOUR
    clock = TapeClock(wall=lambda: last + HOUR, steady=lambda: 0)
    book, seconds = Book(), iter([100.0, 200.0, 300.0])
    watched = Interruptions(Market.STOCKS, clock, book, last_ns=last, steady=lambda: next(seconds))
    watched.tick()
    watched.tick()
    assert not book.gaps


def test_a_late_start_opens_a_gap_from_the_session_start() -> None:
    (gap,) = begun(CRYPTO.day_start + HOUR).book.gaps
    assert gap[:2] == ["late_start", CRYPTO.day_start]
    assert CRYPTO.day_start + HOUR < gap[2] < CRYPTO.day_start + HOUR + 302 * NS_PER_SECOND + 1


def test_the_time_before_the_last_channel_was_granted_is_a_gap() -> None:
    stream = Stream(CRYPTO.day_start)
    stream.watched.connected(["XT.*", "XQ.*"])
    stream.watched.granted(["XT.*"])
    stream.send(300)
    assert not stream.book.gaps, "its end is not known yet"
    stream.watched.granted(["XQ.*"])
    stream.send(10)
    (gap,) = stream.book.gaps
    assert gap[:2] == ["late_start", CRYPTO.day_start]
    assert gap[2] >= stream.tape


def test_a_disconnect_spans_from_before_the_last_event_to_after_the_first() -> None:
    stream = begun()
    last = stream.tape - NS_PER_SECOND
    stream.watched.interrupted("disconnect", "the server closed with 1006")
    assert stream.book.gaps == [["disconnect", last - 10 * NS_PER_SECOND, None]]
    stream.tape += HOUR
    first = stream.tape
    stream.send(100)
    assert stream.book.gaps[0][2] is None, "the first events may be late ones"
    stream.steady_s += 3
    stream.watched.tick()
    assert first <= stream.book.gaps[0][2] <= stream.tape + 2 * NS_PER_SECOND
    assert stream.watched.is_whole


def test_a_disconnect_before_the_start_is_judged_grows_until_the_stream_is_back() -> None:
    stream = Stream(CRYPTO.day_start)
    stream.send(200)
    stream.watched.interrupted("disconnect", "the connection broke")
    stream.steady_s += 10
    stream.watched.tick()
    assert [gap[2] for gap in stream.book.gaps] == [None], "no event has arrived since"
    stream.tape += HOUR
    stream.send(300)
    stream.steady_s += 3
    stream.watched.tick()
    assert stream.book.gaps[0][2] > CRYPTO.day_start + HOUR
    assert stream.watched.is_whole


def test_leaving_a_flowing_stream_bounds_its_gaps() -> None:
    stream = begun()
    stream.watched.interrupted("malformed", "1 frame(s) are not a JSON array of events")
    stream.watched.stopped()
    assert stream.book.gaps[0][2] >= stream.tape - NS_PER_SECOND


def test_leaving_before_the_stream_is_back_lets_the_gap_grow_until_the_session_end() -> None:
    stream = begun()
    stream.watched.interrupted("disconnect", "gone")
    stream.watched.connected([])
    stream.watched.stopped()
    assert stream.book.gaps[0][2] is None, "the last lost event may lie anywhere after the last received one"
    stream.watched.session_ended()
    assert stream.book.gaps[0][2] > CRYPTO.extended_end


def test_leaving_before_all_channels_are_back_lets_the_gap_grow() -> None:
    stream = begun()
    stream.watched.interrupted("disconnect", "gone")
    stream.watched.connected(["XT.*", "XQ.*"])
    stream.watched.granted(["XQ.*"])
    stream.tape += HOUR
    stream.send(600)
    stream.watched.stopped()
    assert stream.book.gaps[0][2] is None


def test_a_gap_spans_a_leap_of_the_tape_that_was_still_pending() -> None:
    stream = begun()
    stream.watched.interrupted("disconnect", "gone")
    stream.tape += HOUR
    first = stream.tape
    stream.send(100)
    stream.watched.stopped()
    assert first < stream.book.gaps[0][2] <= stream.tape + 2 * NS_PER_SECOND


def test_a_disconnect_before_the_tapes_time_is_known_makes_the_session_start_a_gap() -> None:
    stream = Stream(CRYPTO.day_start)
    stream.send(20)
    stream.watched.interrupted("disconnect", "gone")
    stream.tape += NS_PER_MINUTE // 2
    stream.send(300)
    (gap,) = stream.book.gaps
    assert gap[1] == CRYPTO.day_start
    assert gap[2] > CRYPTO.day_start + NS_PER_MINUTE // 2 + 20 * NS_PER_SECOND


def test_late_events_alone_do_not_end_a_gap() -> None:
    stream = begun()
    before = stream.tape
    stream.watched.interrupted("disconnect", "gone")
    stream.take(before - np.arange(10, 310) * NS_PER_SECOND // 10)
    stream.steady_s += 10
    stream.watched.tick()
    assert stream.book.gaps[0][2] is None
    stream.tape += NS_PER_MINUTE // 2
    stream.send(300)
    assert stream.book.gaps[0][2] > before + NS_PER_MINUTE // 2


def test_a_connection_that_flaps_is_one_gap() -> None:
    stream = begun()
    for _ in range(5):
        stream.watched.interrupted("disconnect", "gone")
        stream.send(5)
    stream.watched.interrupted("dropped", "full")
    stream.send(600)
    assert [gap[0] for gap in stream.book.gaps] == ["disconnect", "dropped"]
    assert all(gap[2] is not None for gap in stream.book.gaps)


def test_a_restart_within_the_session_is_one_gap() -> None:
    last = STOCKS.regular_start
    (gap,) = missed_stretches(Market.STOCKS, last, last + HOUR, last + HOUR)
    assert (gap.cause, gap.start_ns) == ("restart", last - 10 * NS_PER_SECOND)
    assert gap.end_ns > last + HOUR


def test_a_restart_days_later_misses_the_rest_and_the_sessions_between() -> None:
    last, first = FRIDAY.regular_start, STOCKS.regular_start
    found = list(missed_stretches(Market.STOCKS, last, first, first))
    assert [(gap.cause, gap.start_ns) for gap in found] == [
        ("restart", last - 10 * NS_PER_SECOND),
        ("late_start", MONDAY.extended_start),
        ("late_start", STOCKS.extended_start),
    ]
    assert [gap.end_ns for gap in found[:2]] == [FRIDAY.extended_end, MONDAY.extended_end]


def test_a_punctual_start_after_a_night_misses_the_evening_alone() -> None:
    first = STOCKS.extended_start + NS_PER_SECOND
    found = list(missed_stretches(Market.STOCKS, MONDAY.regular_end, first, first))
    assert [(gap.cause, gap.end_ns) for gap in found] == [("restart", MONDAY.extended_end)]


def test_a_restart_over_midnight_of_a_continuous_market_misses_the_first_seconds() -> None:
    last, first = CRYPTO.day_start - NS_PER_SECOND, CRYPTO.day_start + 5 * NS_PER_SECOND
    found = list(missed_stretches(Market.CRYPTO, last, first, first))
    assert [(gap.start_ns, gap.end_ns) for gap in found] == [
        (last - 10 * NS_PER_SECOND, CRYPTO.day_start),
        (CRYPTO.day_start, first + 2 * NS_PER_SECOND),
    ]


def test_a_live_tape_joined_in_its_first_minute_lacks_the_time_before() -> None:
    for connected, starts in ((-NS_PER_SECOND, []), (20 * NS_PER_SECOND, [STOCKS.extended_start])):
        stream = Stream(STOCKS.extended_start + 20 * NS_PER_SECOND, market=Market.STOCKS)
        wall = [STOCKS.extended_start + connected]
        stream.clock = TapeClock(wall=lambda wall=wall: wall[0], steady=lambda s=stream: int(s.steady_s * 1e9))
        stream.watched = Interruptions(
            Market.STOCKS, stream.clock, stream.book, last_ns=None, steady=lambda s=stream: s.steady_s
        )
        stream.watched.connected([])
        stream.take(stream.tape + np.arange(300) * NS_PER_SECOND // 100)
        assert [gap[1] for gap in stream.book.gaps] == starts


def test_a_tape_that_restarts_from_an_earlier_time_misses_nothing() -> None:
    assert not list(missed_stretches(Market.STOCKS, STOCKS.regular_end, MONDAY.regular_start, MONDAY.regular_start))


def test_a_planned_pause_is_no_gap() -> None:
    stream = Stream(MONDAY.extended_start, market=Market.STOCKS)
    stream.send(300)
    stream.watched.session_ended()
    stream.tape = STOCKS.extended_start
    stream.watched.connected([])
    stream.send(600)
    stream.send(600)
    assert not stream.book.gaps
    assert stream.watched.is_whole


def test_a_session_without_events_becomes_a_gap_in_the_next() -> None:
    """The server was unreachable from before the first event of a day until after its last."""
    stream = Stream(FRIDAY.extended_start, market=Market.STOCKS)
    stream.send(300)
    stream.watched.session_ended()
    stream.watched.session_ended()
    stream.tape = STOCKS.extended_start
    stream.watched.connected([])
    stream.send(600)
    stream.send(600)
    assert stream.book.gaps == [["late_start", MONDAY.extended_start, MONDAY.extended_end]]


def test_a_connection_lost_before_a_days_first_event_makes_that_day_a_gap() -> None:
    stream = Stream(FRIDAY.extended_start, market=Market.STOCKS)
    stream.send(300)
    stream.watched.session_ended()
    stream.watched.connected([])
    stream.watched.interrupted("disconnect", "gone")
    stream.watched.session_ended()
    stream.tape = STOCKS.extended_start
    stream.watched.connected([])
    stream.send(600)
    stream.send(600)
    assert ["late_start", MONDAY.extended_start, MONDAY.extended_end] in stream.book.gaps


def test_a_session_that_ends_before_its_start_is_judged_is_judged_at_its_end() -> None:
    last = STOCKS.regular_start
    stream = Stream(last + HOUR, last_ns=last, market=Market.STOCKS)
    stream.send(200)
    stream.watched.interrupted("disconnect", "gone")
    assert [gap[0] for gap in stream.book.gaps] == ["disconnect"]
    stream.watched.session_ended()
    disconnect, restart = stream.book.gaps
    assert disconnect[2] > STOCKS.extended_end
    assert restart[:2] == ["restart", last - 10 * NS_PER_SECOND]
    assert restart[2] >= stream.tape - NS_PER_SECOND


def test_events_on_a_day_without_a_session_keep_the_gap_of_the_session_before() -> None:
    last, saturday = FRIDAY.regular_start, FRIDAY.day_end + HOUR
    found = list(missed_stretches(Market.STOCKS, last, saturday, saturday))
    assert [(gap.cause, gap.start_ns, gap.end_ns) for gap in found] == [
        ("restart", last - 10 * NS_PER_SECOND, FRIDAY.extended_end)
    ]


def test_a_position_ahead_of_its_sessions_tape_is_ignored() -> None:
    first = STOCKS.regular_start
    (gap,) = missed_stretches(Market.STOCKS, first + HOUR, first, first)
    assert (gap.cause, gap.start_ns) == ("late_start", STOCKS.extended_start)
