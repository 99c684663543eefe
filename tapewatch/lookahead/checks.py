"""The checks of one computation: they change the future in every way and compare what was known before."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np
import polars as pl

from tapewatch.lookahead.comparison import Difference, difference, plain
from tapewatch.lookahead.computation import Computation, Input, Tape, ns_of
from tapewatch.lookahead.future import from_start, late_news, other_future, without_future
from tapewatch.lookahead.horizon import Horizon, horizon

#: The checks in their order; `Verdict.check` is one of them.
CHECKS = ("repeat", "known_time", "cut", "perturb", "delay", "ties", "start")
#: A symbol of this name has no row until the future is made up.
NEWCOMER = "ZZ.NEW"
_TIES, _STARTS = 6, 2
#: The attributes of a verdict that a failed check sets.
Fault = dict[str, Any]
_BEGINS = ("event_time", "start_time", "end_time", "time")


@dataclass(frozen=True)
class Verdict:
    """What the checks say of a computation; `check` is the one that failed, None if all passed.

    Attributes:
        name: of the computation.
        inputs: the tables that it reads.
        rows: rows of the whole tape.
        cuts: moments at which the future was changed.
        check: the check that failed.
        columns: the columns that differ, or `rows`, `order` or `schema`.
        row: key and known time of the first row that differs.
        horizon: how far the leak reaches; None where nothing leaks or a reach makes no sense.
        note: what was not checked, and why.
    """

    name: str
    inputs: tuple[str, ...]
    rows: int
    cuts: int
    check: str | None = None
    columns: tuple[str, ...] = ()
    row: dict[str, Any] = field(default_factory=dict)
    horizon: Horizon | None = None
    note: str = ""

    @property
    def is_clean(self) -> bool:
        return self.check is None


def judge(computation: Computation, tape: Tape, *, cuts: int | None = 24, seed: int = 0) -> Verdict:
    """Judge a computation on a tape; ends at the first check that fails.

    - repeat: the same tape gives the same rows.
    - known_time: every row has one, not before its other times.
    - cut: the tape up to T gives the rows that were known at T.
    - perturb: so does the tape with another future after T (`other_future`).
    - delay: so does a tape whose later rows speak of the time before T (`late_news`).
    - ties: among rows of one instant, a result uses none after the row that made it.
    - start: a tape that begins later gives the same rows after the declared warm-up.

    T takes `cuts` of the times at which rows became known, spread over the day; each of them if None.

    Args:
        computation: what to judge.
        tape: rows of its inputs, sorted as their tables say; with all columns, so that there is something to delay.
        cuts: how many moments; the runs are three times as many.
        seed: of the made-up futures.
    """
    tape = replace(tape, symbols=(*tape.symbols, NEWCOMER))
    whole = computation.rows(tape)
    chosen = chosen_times(computation.known_times(whole), cuts)
    tables = tuple(each.table.name for each in computation.inputs)
    done = Verdict(computation.name, tables, whole.height, len(chosen))
    faults = chain(
        _not_repeated(computation, tape, whole),
        _untimely(computation, whole),
        _changed(computation, tape, whole, chosen, seed),
        _ties(computation, tape, whole),
    )
    fault = next(faults, None) or _late_start(computation, tape, whole)
    return replace(done, **fault)


def chosen_times(known: np.ndarray[Any, np.dtype[np.int64]], most: int | None) -> list[int]:
    """At most `most` times, evenly spread with first and last; the middle first, then halves of what is between."""
    if most is not None and known.size > most:
        known = known[np.unique(np.linspace(0, known.size - 1, most).round().astype(np.int64))]
    order: list[int] = []
    spans = [(0, known.size)]
    while spans:
        low, high = spans.pop(0)
        if low < high:
            middle = (low + high) // 2
            order.append(middle)
            spans += [(low, middle), (middle + 1, high)]
    return [int(known[at]) for at in order]


def compared(
    computation: Computation, tape: Tape, expected: pl.DataFrame, at: int, seed: int = 0
) -> Iterator[tuple[str, Difference | None]]:
    """Each check that changes the future after `at`, and how what was known at `at` differs from `expected`."""
    known = computation.known_rows(expected, at)
    for check, future in _futures(computation, tape, seed).items():
        rows = computation.known_rows(computation.rows(future(at, at)), at)
        yield check, difference(computation, known, rows)


def _futures(computation: Computation, tape: Tape, seed: int) -> dict[str, Callable[[int, int], Tape]]:
    """The other futures by check: of a moment, and about what was known at a time."""
    inputs = computation.inputs
    found: dict[str, Callable[[int, int], Tape]] = {
        "cut": lambda moment, _: without_future(tape, inputs, moment),
        "perturb": lambda moment, _: other_future(tape, inputs, moment, seed),
    }
    if any("participant_time" in each.table.by_name for each in inputs):
        found["delay"] = lambda moment, about: late_news(tape, inputs, moment, seed, about=about)
    return found


def _not_repeated(computation: Computation, tape: Tape, whole: pl.DataFrame) -> Iterator[Fault]:
    differs = difference(computation, whole, computation.rows(tape))
    if differs is not None:
        yield _fault("repeat", differs)


def _untimely(computation: Computation, rows: pl.DataFrame) -> Iterator[Fault]:
    """The first row that has no known time, or one before another of its times."""
    known = pl.col(computation.known)
    not_before = set(_BEGINS) - {computation.known} - {name for each in computation.later for name in each.columns}
    earlier = [known < pl.col(name) for name in _BEGINS if name in rows.schema and name in not_before]
    bad = plain(rows.filter(pl.any_horizontal(known.is_null(), *earlier)))
    if bad.height:
        names = [*dict.fromkeys([*computation.key, computation.known])]
        yield _fault("known_time", Difference((computation.known,), bad.select(names).row(0, named=True)))


def _changed(
    computation: Computation, tape: Tape, whole: pl.DataFrame, chosen: Sequence[int], seed: int
) -> Iterator[Fault]:
    for count, at in enumerate(chosen, 1):
        for check, differs in compared(computation, tape, whole, at, seed):
            if differs is not None:
                futures = _futures(computation, tape, seed)
                used = [futures["delay"]] if check == "delay" else [futures["cut"], futures["perturb"]]
                reach = horizon(computation, tape, whole, at, used)
                yield {**_fault(check, differs), "cuts": count, "horizon": reach}


def _ties(computation: Computation, tape: Tape, whole: pl.DataFrame) -> Iterator[Fault]:
    """Cut the tape between rows of one instant: what they gave so far must be among the rows of the whole tape."""
    before = ns_of(computation.known)
    for each in computation.inputs:
        frame = tape[each.table]
        for symbol, at in _instants(frame, each) if each.is_inclusive else ():
            own = (pl.col("symbol").cast(pl.String) == symbol) & (each.known == at)
            first = pl.int_range(pl.len()) == frame.select(own.arg_true().first()).item()
            seen = without_future(tape, computation.inputs, at)
            part = seen.with_frames({each.table.name: frame.filter(each.is_past(at) & (~own | first))})
            found = plain(computation.known_rows(computation.rows(part), at))
            expected = plain(computation.known_rows(whole, at))
            same = expected.join(found, on=computation.key, how="semi", maintain_order="left", nulls_equal=True)
            differs = difference(computation, same, found) or difference(
                computation, expected.filter(before < at), found.filter(before < at)
            )
            if differs is not None:
                yield {**_fault("ties", differs), "horizon": Horizon(0, computation.step_ns(whole))}


def _instants(frame: pl.DataFrame, each: Input) -> list[tuple[str, int]]:
    """Symbols and instants with several rows, a few spread over the tape."""
    names = frame.select(pl.col("symbol").cast(pl.String), at=each.known)
    several = names.filter(names.is_duplicated()).unique().sort("at", "symbol")
    if several.height > _TIES:
        several = several[np.linspace(0, several.height - 1, _TIES).round().astype(np.int64)]
    return [(str(symbol), int(at)) for symbol, at in several.iter_rows()]


def _late_start(computation: Computation, tape: Tape, whole: pl.DataFrame) -> Fault:
    """Begin the tape at later rows, and compare what follows the warm-up, of symbols that had all inputs by then.

    Returns:
        The fault, or a note of what could not be compared.
    """
    warm_up_ns = computation.warm_up_ns
    if warm_up_ns is None:
        return {"note": f"start not moved: carries {computation.carries}"}
    last = max((int(tape[i.table].select(i.known.max()).item() or 0) for i in computation.inputs), default=0)
    known = computation.known_times(whole)
    known = known[known + warm_up_ns < last]
    symbol, time = pl.col(computation.key[0]).cast(pl.String), ns_of(computation.known)
    rows_compared = 0
    for share in range(1, _STARTS + 1 if known.size else 1):
        start = int(known[known.size * share // (_STARTS + 1)])
        later = computation.rows(from_start(tape, computation.inputs, start))
        settled = [s for s in tape.symbols if _has_all(tape, computation.inputs, s, start, start + warm_up_ns)]
        warm = (time >= start + warm_up_ns) & symbol.is_in(settled)
        expected, found = (rows.filter(warm).drop(computation.carried) for rows in (whole, later))
        rows_compared += expected.height
        differs = difference(computation, expected, found)
        if differs is not None:
            return _fault("start", differs)
    if not rows_compared:
        return {"note": "start not moved: the tape is shorter than the warm-up"}
    return {"note": f"start moved without {', '.join(computation.carried)}" if computation.carried else ""}


def _has_all(tape: Tape, inputs: tuple[Input, ...], symbol: str, start: int, end: int) -> bool:
    """Whether the symbol has rows of each input from `start` to `end`; of those that the tape has at all."""

    def has_rows(each: Input) -> bool:
        frame = tape[each.table]
        soon = (pl.col("symbol").cast(pl.String) == symbol) & each.known.is_between(start, end)
        return not frame.height or bool(frame.select(soon.any()).item())

    return all(map(has_rows, inputs))


def _fault(check: str, differs: Difference) -> Fault:
    return {"check": check, "columns": differs.columns, "row": differs.row}
