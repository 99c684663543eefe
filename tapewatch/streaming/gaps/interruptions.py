"""Turns connection events of a stream into the stretches of the tape that may be missing."""

import datetime as dt
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Market, Session, session_at, session_of
from tapewatch.streaming.gaps.book import OVERLAP_NS
from tapewatch.streaming.live.clock import TapeClock, Times

#: A gap ends after this number of events, or this long after the first one, which alone may be late.
_ENOUGH_EVENTS = 256
_ENOUGH_S = 2.0
#: After this time without a reply, the granted subscriptions are taken as all that the server grants.
_SUBSCRIBED_WITHIN_S = 15.0
#: A first event later than this after the session's start opens a gap.
_PUNCTUAL_NS = NS_PER_MINUTE
#: Rows that arrive late or out of order may be this much older than the interruption.
_BEFORE_NS = 10 * NS_PER_SECOND
_FIRST_EVENTS = 31
#: After this time without any event, the session of the stored tape may be over.
_SILENT_FOR_S = 30.0
#: Days before are left to a backfill.
_DAYS_BACK = 7
#: The cause of gaps without a connection. During other gaps the stream goes on.
DISCONNECT = "disconnect"


class GapRecorder(Protocol):
    """Records gaps, as a `Keeper` does."""

    def open_gap(
        self, cause: str, *, start_ns: int, end_ns: int | None = None, channel: str = "all", reason: str | None = None
    ) -> None:
        """Record a gap."""

    def bound_gaps(self, end_ns: int, *, cause: str | None = None) -> None:
        """Set the end of the growing gaps."""


@dataclass
class _Resumption:
    """The events after an interruption. `newest_ns` is the newest event before it, `latest_ns` the newest since."""

    newest_ns: int
    events: int = 0
    since_s: float | None = None
    latest_ns: int = -1

    def add(self, times: Times, now_s: float) -> None:
        self.events += times.size
        self.since_s = now_s if self.since_s is None else self.since_s
        self.latest_ns = max(self.latest_ns, int(times.max()))

    def is_enough(self, now_s: float) -> bool:
        return self.since_s is not None and (self.events >= _ENOUGH_EVENTS or now_s - self.since_s >= _ENOUGH_S)


@dataclass(frozen=True, slots=True)
class Missed:
    """A stretch of a session that was not collected; int64 ns UTC."""

    cause: str
    start_ns: int
    end_ns: int


class Interruptions:
    """Opens and bounds the gaps of one market's stream.

    Call `connected` and `interrupted` for the stream's markers, `granted` with the names of granted subscriptions, `saw` after
    each batch, all in order, and `tick` regularly.

    Args:
        clock: must have observed a batch before `saw` is called with it.
        gaps: records the gaps.
        last_ns: time up to which earlier processes stored the tape; None where unknown.
        is_resumed: an earlier process collected this session. With `last_ns` unknown, the session then starts with a gap.
        since_ns: time of an event that arrived while `last_ns` was unknown; the rest of its session is missing too.
        steady: a monotonic clock, seconds.
    """

    def __init__(
        self,
        market: Market,
        clock: TapeClock,
        gaps: GapRecorder,
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
        self._beginning: _Resumption | None = _Resumption(0)
        self._growing: dict[str, _Resumption] = {}
        self._ungranted: set[str] = set()
        self._began_s = self._connected_s = self._steady()
        self._connected_ns = clock.outside_ns
        self._was_partial = is_resumed and last_ns is None

    @property
    def has_begun(self) -> bool:
        """Whether the gap between the tape of earlier processes and this one is recorded."""
        return self._beginning is None

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing, as far as is known."""
        return self._beginning is None and not self._growing

    def stopped(self) -> None:
        """Bound the growing gaps: the stream was stopped on purpose.

        A gap keeps growing where nothing arrived since the connection broke, or where subscriptions are missing. It ends with
        the session, or when the next process receives the stream.
        """
        self._clock.settle()
        newest = self._clock.newest_ns
        if newest is None or self._is_partial(self._steady()):
            return
        for cause, resumption in list(self._growing.items()):
            if cause == DISCONNECT and resumption.latest_ns < resumption.newest_ns:
                continue
            del self._growing[cause]
            self._gaps.bound_gaps(newest + OVERLAP_NS, cause=cause)

    def session_ended(self) -> None:
        """Bound the growing gaps at the end of the session; the next event starts another session."""
        newest = self._clock.newest_ns
        if newest is None:
            return
        session = session_at(self._market, newest)
        if session is not None and self._growing:
            self._gaps.bound_gaps(max(newest, session.extended_end) + OVERLAP_NS)
            self._growing.clear()
        if self._beginning is not None and self._first_times:
            self._begin(newest)
        # This session is complete except for its gaps. A later session without an event counts as missed.
        self._last_ns = newest if session is None else session.day_end - 1
        self._beginning, self._first_times, self._was_partial = _Resumption(0), [], False

    def connected(self, subscriptions: Sequence[str]) -> None:
        """The stream connected and requested these subscriptions."""
        self._ungranted = set(subscriptions)
        self._connected_s, self._connected_ns = self._steady(), self._clock.outside_ns

    def granted(self, names: Iterable[str]) -> None:
        """The server granted these subscriptions."""
        self._ungranted.difference_update(names)

    def interrupted(self, cause: str, reason: str, *, newest_ns: int | None = None) -> None:
        """Open a gap from the newest event so far (or `newest_ns`) up to later events.

        Before the tape's time is known no gap is opened; the first events decide then what is missing since the session began.
        """
        newest = self._clock.newest_ns
        if newest is None:
            self._was_partial = True
            before = int(np.median(self._first_times)) if self._first_times else None
            self._since_ns = before if self._since_ns is None else self._since_ns
            # Events before the interruption do not show that the stream is back.
            self._beginning = _Resumption(before or 0)
            return
        if cause not in self._growing:
            self._gaps.open_gap(cause, start_ns=(newest_ns or newest) - _BEFORE_NS, reason=reason)
        self._growing[cause] = _Resumption(newest)

    def saw(self, times: Times) -> None:
        """These events arrived, and the clock has observed them."""
        if not times.size:
            return
        now_s = self._steady()
        if self._beginning is not None:
            room = _FIRST_EVENTS - len(self._first_times)
            self._first_times.extend(times[:room].tolist())
            self._was_partial |= self._is_partial(now_s)
            self._beginning.add(times, now_s)
        for resumption in self._growing.values():
            resumption.add(times, now_s)
        self.tick()

    def tick(self) -> None:
        """Bound the gaps whose end is known."""
        if self._beginning is None and not self._growing:
            return
        now_s = self._steady()
        self._look_for_a_tail(now_s)
        self._clock.now()
        newest = self._clock.newest_ns
        if newest is None or not self._clock.is_settled or self._is_partial(now_s):
            return
        for cause, resumption in list(self._growing.items()):
            if newest > resumption.newest_ns and resumption.is_enough(now_s):
                del self._growing[cause]
                self._gaps.bound_gaps(newest + OVERLAP_NS, cause=cause)
        # Only without growing gaps: `_begin` bounds every gap, and a growing one would end before the stream is back.
        beginning = self._beginning
        if beginning is not None and not self._growing and newest > beginning.newest_ns and beginning.is_enough(now_s):
            self._begin(newest)

    def _look_for_a_tail(self, now_s: float) -> None:
        """Open a gap for the rest of a session that ended while no process collected it, as no event may ever follow.

        Not before the stream has been silent for a while: a replayed tape continues where it was, whatever the wall clock says.
        """
        last_ns = self._last_ns
        if last_ns is None or self._beginning is None or self._first_times or now_s - self._began_s < _SILENT_FOR_S:
            return
        session = session_at(self._market, last_ns)
        if session is None or session.extended_end > self._clock.outside_ns:
            return
        if last_ns < session.extended_end:
            self._gaps.bound_gaps(session.extended_end + OVERLAP_NS)
            self._growing.clear()
            self._gaps.open_gap("restart", start_ns=last_ns - _BEFORE_NS, end_ns=session.extended_end)
        # What follows is another session.
        self._last_ns = session.day_end - 1

    def _is_partial(self, now_s: float) -> bool:
        return bool(self._ungranted) and now_s - self._connected_s < _SUBSCRIBED_WITHIN_S

    def _begin(self, newest: int) -> None:
        """Record the gap between the stored tape and the first events."""
        self._beginning = None
        first = min(int(np.median(self._first_times)), newest)
        # A gap that was growing when the last process ended.
        self._gaps.bound_gaps(newest + OVERLAP_NS)
        today = session_at(self._market, first)
        if self._clock.is_live and today is not None and self._connected_ns > today.extended_start:
            # Earlier events may have been missed, however soon the first one arrived.
            self._was_partial = True
        last_ns = self._last_ns
        if last_ns is None and self._since_ns is not None and self._since_ns < first:
            last_ns = _start_of_ended_session(self._market, self._since_ns, first)
        for missed in missed_stretches(self._market, last_ns, first, newest, is_partial=self._was_partial):
            self._gaps.open_gap(missed.cause, start_ns=missed.start_ns, end_ns=missed.end_ns)


def missed_stretches(
    market: Market, last_ns: int | None, first_ns: int, whole_ns: int, *, is_partial: bool = False
) -> Iterator[Missed]:
    """The stretches that a collector missed before its first events, session by session.

    Args:
        last_ns: the newest event collected before; None where there is none: then only the present session counts.
        first_ns: the first event.
        whole_ns: the event from which everything is collected.
        is_partial: some channels were not granted yet between `first_ns` and `whole_ns`.
    """
    today = session_at(market, first_ns)
    if last_ns is not None and last_ns > whole_ns:
        if today is None or not today.day_start <= last_ns < today.day_end:
            return
        # A clock was wrong, or the tape started again: it is unknown how much of this session was stored.
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
    """Whether a session starts where the one before ends, so that a gap at the end continues into it."""
    before = session_of(market, today.date - dt.timedelta(days=1))
    return before is not None and before.extended_end == today.extended_start


def _missed_before(market: Market, last_ns: int, now_ns: int) -> Iterator[Missed]:
    """The rest of the session of `last_ns`, and the sessions since then that ended by `now_ns`."""
    today = dt.datetime.fromtimestamp(now_ns // NS_PER_SECOND, dt.UTC).date()
    for offset in range(_DAYS_BACK, -1, -1):
        session = session_of(market, today - dt.timedelta(days=offset))
        if session is None or session.day_end <= last_ns or session.day_end > now_ns:
            continue
        has_rows = session.day_start <= last_ns
        # Late rows are possible only where part of the session was stored.
        is_begun = has_rows and last_ns != session.extended_start
        start = last_ns - _BEFORE_NS if is_begun else session.extended_start
        if start < session.extended_end:
            yield Missed("restart" if has_rows else "late_start", start, session.extended_end)


def _start_of_ended_session(market: Market, since_ns: int, now_ns: int) -> int | None:
    """Start of the session that includes `since_ns`; None if it has not ended by `now_ns`."""
    session = session_at(market, since_ns)
    return session.extended_start if session is not None and session.day_end <= now_ns else None
