"""The speed of a stream: a multiple of real time, a number of events a second, or as fast as the client reads."""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tapewatch.market.instruments import NS_PER_SECOND, Session

_SPELLING = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>eps|x)?")
# Bars of the last minute are sent after it ends.
_AFTER_CLOSE = NS_PER_SECOND


@dataclass(frozen=True, slots=True)
class Speed:
    """`times` real time, or `events_per_second`; as fast as the client reads if both are None."""

    times: float | None = None
    events_per_second: float | None = None

    @classmethod
    def parse(cls, text: str) -> "Speed":
        """A speed from the command line: `1`, `60`, `max`, `50000eps`.

        Raises:
            ValueError: the text is no speed.
        """
        if text.strip().lower() == "max":
            return cls()
        match = _SPELLING.fullmatch(text.strip().lower())
        if match is None or float(match["number"]) <= 0:
            raise ValueError(
                f"the speed {text!r} is neither a multiple of real time (60), nor max, nor a rate (50000eps)"
            )
        number = float(match["number"])
        return cls(events_per_second=number) if match["unit"] == "eps" else cls(times=number)

    def __str__(self) -> str:
        if self.times is not None:
            return f"{self.times:g}"
        return "max" if self.events_per_second is None else f"{self.events_per_second:g}eps"


class ReplayClock:
    """The tape's time at a multiple of real time. It runs through the sessions and skips the time between them.

    Args:
        sessions: the days, in order; empty if the present is streamed.
        times: the multiple of real time.
        present: the present, ns UTC.
        monotonic: a monotonic clock, ns.
    """

    def __init__(
        self,
        sessions: Sequence[Session],
        times: float,
        present: Callable[[], int],
        monotonic: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._spans = [(session.extended_start, session.extended_end + _AFTER_CLOSE) for session in sessions]
        self._times = times
        self._present = present
        self._monotonic = monotonic
        self._began: int | None = None

    def start(self) -> None:
        """Start, unless it is running."""
        if self._began is None:
            self._began = self._monotonic()

    @property
    def is_running(self) -> bool:
        return self._began is not None

    @property
    def now(self) -> int:
        """The tape's time, ns UTC: the first session's start until it is started; it runs on after the last session."""
        if not self._spans:
            return self._present()
        passed = 0 if self._began is None else int((self._monotonic() - self._began) * self._times)
        for start, end in self._spans:
            if passed < end - start:
                return start + passed
            passed -= end - start
        return self._spans[-1][1] + passed

    def seconds_until(self, ns: int) -> float:
        """Real seconds until the tape reaches a time of the current session."""
        return (ns - self.now) / NS_PER_SECOND / (self._times if self._spans else 1.0)
