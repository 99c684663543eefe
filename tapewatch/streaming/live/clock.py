"""The tape's clock: the market's present time, estimated from event times that may be late, wrong or missing."""

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tapewatch.market.instruments import NS_PER_SECOND

Times = npt.NDArray[np.int64]

#: How much later than its neighbours an event may arrive.
LATENESS_NS = 2 * NS_PER_SECOND
_RING = 31
_NEAR_WALL_NS = 120 * NS_PER_SECOND
_STEADY_DRIFT_NS = 60 * NS_PER_SECOND
_LIVE_STEP_NS = 10 * NS_PER_SECOND
_REPLAY_STEP_NS = 60 * NS_PER_SECOND
_HOLD_NS = 2 * NS_PER_SECOND
_HOLD_EVENTS = 512


class TapeClock:
    """The tape's present, and the time up to which it is taken to be complete.

    The present follows the median of the last 31 event times, so single wrong times have no effect. A leap of that median
    (over 10 s on a live tape, a minute on a replayed one) is accepted if events lie all along the way, or once it has
    lasted 2 s or 512 events; a leap beyond the wall clock only after 512 events. A live tape (close to the wall clock less
    the plan's delay) advances with the steady clock while no events arrive. The wall clock decides only whether a tape is
    live: later jumps of it change nothing.

    All times are int64 ns UTC. Not thread-safe.

    Args:
        delay_ns: how far the plan's tape lies behind the market.
        wall, steady: clocks in ns.
    """

    def __init__(
        self,
        *,
        delay_ns: int = 0,
        wall: Callable[[], int] = time.time_ns,
        steady: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.is_live = False
        #: The latest event time that the clock accepts; None before the first.
        self.newest_ns: int | None = None
        self._delay_ns = delay_ns
        self._wall = wall
        self._steady = steady
        self._times: Times = np.empty(0, np.int64)
        self._offsets: Times = np.empty(0, np.int64)
        self._offset = 0
        self._tape: int | None = None
        self._seen = 0
        self._leap: tuple[int, int] | None = None

    @property
    def is_settled(self) -> bool:
        """Whether the present is known and no leap is pending."""
        return self._tape is not None and self._leap is None

    @property
    def outside_ns(self) -> int:
        """The present of a live tape by the wall clock."""
        return self._wall() - self._delay_ns

    def settle(self) -> None:
        """Accept a pending leap, as no more events follow for now, unless it leads beyond the wall clock."""
        if self._leap is not None:
            since, seen = self._leap
            self._leap = (since - _HOLD_NS, seen)
            self.now()

    def observe(self, times: Times) -> None:
        """Add event times, in order of arrival."""
        if not times.size:
            return
        steady = self._steady()
        recent = times[-_RING:]
        self._times = np.concatenate([self._times, recent])[-_RING:]
        self._offsets = np.concatenate([self._offsets, recent - steady])[-_RING:]
        self._seen += times.size
        self._follow(steady, times)
        self._accept(times, steady)

    def now(self) -> int | None:
        """The tape's present; None before there were enough events."""
        steady = self._steady()
        if self._leap is not None:
            self._follow(steady, self._times)
            self._accept(self._times, steady)
        if self._tape is None:
            return None
        self._tape = self._present(steady)
        return self._tape

    def watermark(self) -> int | None:
        """The time up to which the tape is complete, given the allowed lateness; never moves backwards."""
        now = self.now()
        return None if now is None else now - LATENESS_NS

    def _follow(self, steady: int, times: Times) -> None:
        offset = _median(self._offsets)
        is_live = self._is_live(offset, steady)
        candidate = steady + offset if is_live else _median(self._times)
        if not self._is_accepted(candidate, steady, times, is_live=is_live):
            return
        self._tape = candidate if self._tape is None else max(self._present(steady), candidate)
        self._leap, self._offset, self.is_live = None, offset, is_live

    def _is_live(self, offset: int, steady: int) -> bool:
        # A live tape that keeps pace with the steady clock stays live, whatever the wall clock does.
        if self.is_live and abs(offset - self._offset) <= _STEADY_DRIFT_NS:
            return True
        return abs(self._wall() - self._delay_ns - (steady + offset)) <= _NEAR_WALL_NS

    def _is_accepted(self, candidate: int, steady: int, times: Times, *, is_live: bool) -> bool:
        if self._tape is None:
            is_leap = not is_live
        else:
            present = self._present(steady)
            is_leap = candidate > present + self._step and not _is_bridged(times, present, candidate, self._step)
        if not is_leap:
            return True
        if self._leap is None:
            self._leap = (steady, self._seen - (self._times.size if self._tape is None else 0))
        since, seen = self._leap
        needed = _RING if self._tape is None else _HOLD_EVENTS
        if self._seen - seen >= needed:
            return True
        return steady - since >= _HOLD_NS and candidate <= self._wall() + _REPLAY_STEP_NS

    def _accept(self, times: Times, steady: int) -> None:
        if self._tape is None:
            return
        accepted = times[times <= self._present(steady) + self._step]
        if accepted.size:
            newest = int(accepted.max())
            self.newest_ns = newest if self.newest_ns is None else max(self.newest_ns, newest)

    def _present(self, steady: int) -> int:
        tape = self._tape or 0
        return max(tape, steady + self._offset) if self.is_live else tape

    @property
    def _step(self) -> int:
        return _LIVE_STEP_NS if self.is_live else _REPLAY_STEP_NS


def _is_bridged(times: Times, start: int, end: int, step: int) -> bool:
    """Whether events lie between the two times, none further from the next than a step."""
    between = np.sort(times[(times > start) & (times < end)])
    return bool((np.diff(between, prepend=start, append=end) <= step).all())


def _median(values: Times) -> int:
    middle = (values.size - 1) // 2
    return int(np.partition(values, middle)[middle])
