"""From what befell a stream to the stretches of the tape that it may lack."""

import datetime as dt
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Market, Session, session_at, session_of
from tapewatch.streaming.gaps.book import OVERLAP_NS
from tapewatch.streaming.live.clock import TapeClock, Times

#: A gap ends once this many events came after it, or this much time passed since the first of them: the very first may be late.
_ENOUGH_EVENTS = 256
_ENOUGH_S = 2.0
#: A server that answers no subscription within this time is taken to have granted what it will.
_SUBSCRIBED_WITHIN_S = 15.0
_PUNCTUAL_NS = NS_PER_MINUTE
#: Rows that come late or out of order may be of so long before an interruption.
_BEFORE_NS = 10 * NS_PER_SECOND
_FIRST_EVENTS = 31
#: A collector that was off for longer leaves the days between to a backfill.
_DAYS_BACK = 7
#: The cause of gaps whose connection is gone: others go on to deliver.
DISCONNECT = "disconnect"


class GapTaker(Protocol):
    """What takes gaps: a `Keeper`."""

    def open_gap(
        self, cause: str, *, start_ns: int, end_ns: int | None = None, channel: str = "all", reason: str | None = None
    ) -> None:
        """Put a gap into the book."""

    def bound_gaps(self, end_ns: int, *, cause: str | None = None) -> None:
        """Bound the growing gaps."""


@dataclass
class _Return:
    """How the tape comes back after an interruption; `newest_ns` is the newest event before it, `latest_ns` the one since."""

    newest_ns: int
    events: int = 0
    since_s: float | None = None
    latest_ns: int = -1

    def saw(self, times: Times, now_s: float) -> None:
        self.events += times.size
        self.since_s = now_s if self.since_s is None else self.since_s
        self.latest_ns = max(self.latest_ns, int(times.max()))

    def is_enough(self, now_s: float) -> bool:
        return self.since_s is not None and (self.events >= _ENOUGH_EVENTS or now_s - self.since_s >= _ENOUGH_S)


@dataclass(frozen=True, slots=True)
class Missed:
    """A stretch of a session that was not collected, int64 ns UTC."""

    cause: str
    start_ns: int
    end_ns: int


class Interruptions:
    """Watches one market's stream for what it may have lost.

    Call `connected` and `interrupted` as the stream's markers come, `granted` with the names of granted subscriptions, `saw`
    after each batch, all in order; and `tick` now and then.

    Args:
        clock: has observed a batch before `saw` is called with it.
        gaps: where gaps go.
        last_ns: up to where earlier processes kept the tape; None where that is not known.
        is_resumed: an earlier process received, even if `last_ns` is not known: the session begins with a gap then.
        since_ns: an event that came while `last_ns` was not known, ns; the rest of its session is missing too.
        steady: seconds of a clock that never jumps.
    """

    def __init__(
        self,
        market: Market,
        clock: TapeClock,
        gaps: GapTaker,
        *,
        last_ns: int | None,
        is_resumed: bool = False,
        since_ns: int | None = None,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._market, self._clock, self._gaps = market, clock, gaps
        self._steady = steady
        self._last_ns, self._since_ns = last_ns, since_ns
        self._first_times: list[int] = []
        self._beginning: _Return | None = _Return(0)
        self._growing: dict[str, _Return] = {}
        self._ungranted: set[str] = set()
        self._connected_s, self._connected_ns = self._steady(), clock.outside_ns
        self._was_partial = is_resumed and last_ns is None

    @property
    def has_begun(self) -> bool:
        """Whether the book of gaps says what lies between the tape of earlier processes and this one's."""
        return self._beginning is None

    @property
    def is_whole(self) -> bool:
        """Whether nothing is known to be missing at this moment."""
        return self._beginning is None and not self._growing

    def left(self) -> None:
        """The stream is left on purpose: what grew ends here, unless nothing came since the connection broke, or not all.

        Such a gap goes on growing: until the session is over, or the next process has the stream.
        """
        self._clock.settle()
        newest = self._clock.newest_ns
        if newest is None or self._is_partial(self._steady()):
            return
        for cause, coming in list(self._growing.items()):
            if cause == DISCONNECT and coming.latest_ns < coming.newest_ns:
                continue
            del self._growing[cause]
            self._gaps.bound_gaps(newest + OVERLAP_NS, cause=cause)

    def rested(self) -> None:
        """The session is over and the stream was left: a gap ends with the session, the next event begins another one."""
        newest = self._clock.newest_ns
        if newest is None:
            return
        session = session_at(self._market, newest)
        if session is not None and self._growing:
            self._gaps.bound_gaps(max(newest, session.extended_end) + OVERLAP_NS)
            self._growing.clear()
        if self._beginning is not None and self._first_times:
            self._begin(newest)
        # This session is known whole, its gaps apart; one that nothing comes of is missed by whoever sees the next.
        self._last_ns = newest if session is None else session.day_end - 1
        self._beginning, self._first_times, self._was_partial = _Return(0), [], False

    def connected(self, subscriptions: Sequence[str]) -> None:
        """The stream is there, and asks for these."""
        self._ungranted = set(subscriptions)
        self._connected_s, self._connected_ns = self._steady(), self._clock.outside_ns

    def granted(self, names: Iterable[str]) -> None:
        """The server said that it sends these from now on."""
        self._ungranted.difference_update(names)

    def interrupted(self, cause: str, reason: str, *, newest_ns: int | None = None) -> None:
        """Events may lack between the newest seen so far (or `newest_ns`) and those to come.

        Before the tape's time is known no gap is opened: that stretch is judged when it is, and then begins with the session.
        """
        newest = self._clock.newest_ns
        if newest is None:
            self._was_partial = True
            before = int(np.median(self._first_times)) if self._first_times else None
            self._since_ns = before if self._since_ns is None else self._since_ns
            # What came before says nothing of when the stream is back.
            self._beginning = _Return(before or 0)
            return
        if cause not in self._growing:
            self._gaps.open_gap(cause, start_ns=(newest_ns or newest) - _BEFORE_NS, reason=reason)
        self._growing[cause] = _Return(newest)

    def saw(self, times: Times) -> None:
        """These events came, and the clock knows them."""
        if not times.size:
            return
        now_s = self._steady()
        if self._beginning is not None:
            room = _FIRST_EVENTS - len(self._first_times)
            self._first_times.extend(times[:room].tolist())
            self._was_partial |= self._is_partial(now_s)
            self._beginning.saw(times, now_s)
        for coming in self._growing.values():
            coming.saw(times, now_s)
        self.tick()

    def tick(self) -> None:
        """Bound what can be bounded by now."""
        if self._beginning is None and not self._growing:
            return
        now_s = self._steady()
        self._clock.now()
        newest = self._clock.newest_ns
        if newest is None or not self._clock.is_settled or self._is_partial(now_s):
            return
        for cause, coming in list(self._growing.items()):
            if newest > coming.newest_ns and coming.is_enough(now_s):
                del self._growing[cause]
                self._gaps.bound_gaps(newest + OVERLAP_NS, cause=cause)
        # Last, and in calm: a beginning bounds every gap, and one that still grows would end before the stream is back.
        beginning = self._beginning
        if beginning is not None and not self._growing and newest > beginning.newest_ns and beginning.is_enough(now_s):
            self._begin(newest)

    def _is_partial(self, now_s: float) -> bool:
        return bool(self._ungranted) and now_s - self._connected_s < _SUBSCRIBED_WITHIN_S

    def _begin(self, newest: int) -> None:
        """The first events are in: what lies between the tape so far and them."""
        self._beginning = None
        first = min(int(np.median(self._first_times)), newest)
        # A gap that grew when the last process ended has its end at last.
        self._gaps.bound_gaps(newest + OVERLAP_NS)
        today = session_at(self._market, first)
        if self._clock.is_live and today is not None and self._connected_ns > today.extended_start:
            # However soon the first event came, there may have been others.
            self._was_partial = True
        last_ns = self._last_ns
        if last_ns is None and self._since_ns is not None and self._since_ns < first:
            last_ns = _before_all(self._market, self._since_ns, first)
        for missed in missed_stretches(self._market, last_ns, first, newest, is_partial=self._was_partial):
            self._gaps.open_gap(missed.cause, start_ns=missed.start_ns, end_ns=missed.end_ns)


def missed_stretches(
    market: Market, last_ns: int | None, first_ns: int, whole_ns: int, *, is_partial: bool = False
) -> Iterator[Missed]:
    """What a collector that begins now did not collect, session by session.

    Args:
        last_ns: the newest event collected before; None where none was, and only the present session counts.
        first_ns: the first event of now.
        whole_ns: the event from which on everything is collected.
        is_partial: events came between the two while some channels were not granted yet.
    """
    today = session_at(market, first_ns)
    if last_ns is not None and last_ns > whole_ns:
        if today is None or not today.day_start <= last_ns < today.day_end:
            return
        # Some clock was wrong, or the tape starts again: how much of this session was kept is not known.
        last_ns = None
    if last_ns is not None:
        yield from _missed_before(market, last_ns, first_ns if today is None else today.day_start)
    if today is None:
        return
    end = whole_ns + OVERLAP_NS
    is_late = first_ns - today.extended_start > _PUNCTUAL_NS or (last_ns is not None and _is_midnight(market, today))
    if last_ns is not None and last_ns >= today.day_start:
        yield Missed("restart", last_ns - _BEFORE_NS, end)
    elif is_partial or is_late:
        yield Missed("late_start", min(today.extended_start, first_ns), end)


def _is_midnight(market: Market, today: Session) -> bool:
    """Whether a session begins where the one before ends: who was away at its end was away at the beginning."""
    before = session_of(market, today.date - dt.timedelta(days=1))
    return before is not None and before.extended_end == today.extended_start


def _missed_before(market: Market, last_ns: int, now_ns: int) -> Iterator[Missed]:
    """The rest of the session that was left, and those that nobody collected since: all that ended by `now_ns`."""
    today = dt.datetime.fromtimestamp(now_ns // NS_PER_SECOND, dt.UTC).date()
    for offset in range(_DAYS_BACK, -1, -1):
        session = session_of(market, today - dt.timedelta(days=offset))
        if session is None or session.day_end <= last_ns or session.day_end > now_ns:
            continue
        is_left = session.day_start <= last_ns
        # Before a session of which nothing is kept there is nothing that could have come late.
        is_begun = is_left and last_ns != session.extended_start
        start = last_ns - _BEFORE_NS if is_begun else session.extended_start
        if start < session.extended_end:
            yield Missed("restart" if is_left else "late_start", start, session.extended_end)


def _before_all(market: Market, since_ns: int, now_ns: int) -> int | None:
    """The beginning of the session that `since_ns` lies in, where it is over by `now_ns`."""
    session = session_at(market, since_ns)
    return session.extended_start if session is not None and session.day_end <= now_ns else None
