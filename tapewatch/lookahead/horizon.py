"""How far into the future a leak reaches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.lookahead.comparison import difference
from tapewatch.lookahead.computation import Computation, Tape
from tapewatch.market.instruments import NS_PER_SECOND
from tapewatch.market.tables.tape import TIME

_MANY_ROWS = 3
#: Another future may fail to show its last effects.
_NEARLY = 0.9
_MOST_STEPS = 10_000
Times = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Horizon:
    """The latest input that a row still depends on, `ns` after the row was known; `step_ns` is the time between rows.

    `is_to_the_end` if hardly any input is later.
    """

    ns: int
    step_ns: int
    is_to_the_end: bool = False

    @property
    def rows(self) -> int:
        """The same in rows, rounded up."""
        return -(-self.ns // self.step_ns)

    def __str__(self) -> str:
        if self.ns <= 0:
            return "the same instant"
        if self.is_to_the_end and self.rows > _MANY_ROWS:
            return "the rest of the day"
        # An input within the next row, be it its first or its last, is one row ahead.
        seconds = self.rows * self.step_ns / NS_PER_SECOND
        if seconds < 1:
            return f"up to {seconds * 1e3:.3g} ms ({_counted(self.rows)})"
        length = f"{seconds:.3g} s" if seconds < 600 else f"{seconds / 60:.3g} min"
        return f"up to {length} ({_counted(self.rows)})"


def _counted(rows: int) -> str:
    return f"{rows:,} row{'' if rows == 1 else 's'}"


def horizon(
    computation: Computation, tape: Tape, whole: pl.DataFrame, at: int, futures: Sequence[Callable[[int, int], Tape]]
) -> Horizon:
    """How far a leak reaches that was found at `at`.

    Bisects for the last moment from which on another future still changes a row known at `at`. If that is the tape's end,
    the rows known at the tape's beginning tell a leak of a long reach from one of the whole day.

    Args:
        computation: the one that leaks.
        tape: its whole tape.
        whole: its rows of that.
        at: a time (ns UTC) by which known rows change with the future.
        futures: give the tape with another future, from a moment on and about what was known at a time.
    """
    found = _reach(computation, tape, whole, at, futures)
    known = computation.known_times(whole)
    early = int(known[known.size // 20])
    if found.is_to_the_end and early < at:
        at_first = _reach(computation, tape, whole, early, futures)
        return at_first if at_first.rows > 0 and not at_first.is_to_the_end else found
    return found


def _reach(
    computation: Computation, tape: Tape, whole: pl.DataFrame, at: int, futures: Sequence[Callable[[int, int], Tape]]
) -> Horizon:
    step = computation.step_ns(whole)
    expected = computation.known_rows(whole, at)
    moments, known = _moments(computation, tape, at, step)
    first_known = at

    def changes(moment: int) -> bool:
        nonlocal first_known
        for future in futures:
            found = computation.known_rows(computation.rows(future(moment, at)), at)
            differs = difference(computation, expected, found)
            if differs is not None:
                if differs.row:
                    first_known = _ns(differs.row[computation.known], whole, computation.known)
                return True
        return False

    low, high = 0, len(moments)
    while high - low > 1:
        middle = (low + high) // 2
        if changes(int(moments[middle])):
            low = middle
        else:
            high = middle
    changes(int(moments[low]))
    is_to_the_end = moments[low] - at >= _NEARLY * (moments[-1] - at)
    return Horizon(int(known[low]) - first_known, step, is_to_the_end=bool(is_to_the_end))


def _moments(computation: Computation, tape: Tape, at: int, step: int) -> tuple[Times, Times]:
    """Moments, from `at` on, from which the future may be changed, and when the first input that changes then is known.

    Those are the times of the inputs, and moments a row apart until the last of them.
    """
    pairs = {at: at}
    times = [(each, tape[each.table].select(each.known).to_series().unique().to_numpy()) for each in computation.inputs]
    last = max((int(known.max()) for _, known in times if known.size), default=at)
    if (last - at) // step < _MOST_STEPS:
        pairs |= {moment: moment for moment in range(at, last, step)}
    # What is known at T may use an inclusive input of T: that one changes with the future from just before T.
    for each, known in sorted(times, key=lambda pair: not pair[0].is_inclusive):
        pairs |= {int(time) - each.is_inclusive: int(time) for time in known[known > at]}
    pairs[at] = at
    moments = np.array(sorted(pairs), dtype=np.int64)
    return moments, np.array([pairs[int(moment)] for moment in moments], dtype=np.int64)


def _ns(value: object, whole: pl.DataFrame, known: str) -> int:
    return int(pl.Series([value], dtype=whole.schema[known]).cast(TIME).to_physical()[0])
