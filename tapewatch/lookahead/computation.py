"""What is judged: a computation as a function of a tape, with what it declares about time."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.market.instruments import NS_PER_MINUTE, Session
from tapewatch.market.schema import Table
from tapewatch.market.tables.tape import TIME


def ns_of(name: str) -> pl.Expr:
    """A column of times as int64 nanoseconds UTC, whatever its unit."""
    return pl.col(name).cast(TIME).to_physical()


@dataclass(frozen=True)
class Input:
    """A table that a computation reads.

    Attributes:
        table: its definition; the frames of a tape are named and sorted by it.
        time: its column of times (ns UTC).
        lag_ns: time from `time` to the moment at which a row is known: 0 for ticks, the width of a bar for bars.
        is_inclusive: whether a result may use rows that become known at its own `known_time`. The results of a minute that
            ends at T may not use a tick of T; a bar that closes with a trade uses that trade, but none after it.
    """

    table: Table
    time: str = "time"
    lag_ns: int = 0
    is_inclusive: bool = False

    @property
    def known(self) -> pl.Expr:
        """When a row is known, int64 nanoseconds UTC."""
        return ns_of(self.time) + self.lag_ns

    def is_past(self, at: int) -> pl.Expr:
        """Whether a row may enter a result known at `at`."""
        return self.known <= at if self.is_inclusive else self.known < at


@dataclass(frozen=True)
class Tape:
    """The inputs of a computation on one session.

    Attributes:
        session: the day.
        frames: rows by the name of their table.
        symbols: the symbols to compute, which are known from the start, whether or not they have rows.
        through_ns: the tape is complete up to here (ns UTC).
    """

    session: Session
    frames: Mapping[str, pl.DataFrame]
    symbols: tuple[str, ...]
    through_ns: int

    def __getitem__(self, table: Table) -> pl.DataFrame:
        return self.frames[table.name]

    def with_frames(self, frames: Mapping[str, pl.DataFrame], through_ns: int | None = None) -> "Tape":
        """This tape with other rows of some tables."""
        through = self.through_ns if through_ns is None else through_ns
        return replace(self, frames={**self.frames, **frames}, through_ns=through)


@dataclass(frozen=True)
class Later:
    """Columns of a row that become known after the row itself, at `known` (an expression of ns UTC; null is never)."""

    columns: tuple[str, ...]
    known: pl.Expr


@dataclass(frozen=True)
class Computation:
    """A function from a tape to rows.

    Attributes:
        name: as the asset is named, or the function.
        inputs: the tables that it reads.
        rows: gives the rows of a tape, one for each `key`.
        key: the columns that name a row; the first is the symbol.
        known: the column that says when a row was known (ns UTC).
        later: columns that become known after their row.
        warm_up_ns: rows this long after the tape's start equal those of a tape that started earlier. None: the
            computation carries its state since the tape's start, `carries` says which.
        carried: columns that depend on the tape since its start, and are left out when the start is moved.
        carries: what is carried, in words, where `warm_up_ns` is None.
        is_of_market: a symbol's rows depend on the other symbols of the market too.
        moments: known times at which the check of a stored day changes the future; more where few rows tell of each part.
        tolerance: relative difference of floats that counts as rounding; 0 compares bit for bit.
    """

    name: str
    inputs: tuple[Input, ...]
    rows: Callable[[Tape], pl.DataFrame]
    key: tuple[str, ...] = ("symbol", "event_time")
    known: str = "known_time"
    later: tuple[Later, ...] = ()
    warm_up_ns: int | None = None
    carried: tuple[str, ...] = ()
    carries: str = "its state"
    is_of_market: bool = False
    moments: int = 3
    tolerance: float = 0.0

    def known_rows(self, rows: pl.DataFrame, at: int) -> pl.DataFrame:
        """The rows that were known at `at`; what was not known of them yet is null."""
        kept = rows.filter(ns_of(self.known) <= at)
        hidden = [
            pl.when(later.known <= at).then(pl.col(name)).alias(name) for later in self.later for name in later.columns
        ]
        return kept.with_columns(hidden)

    def known_times(self, rows: pl.DataFrame) -> npt.NDArray[np.int64]:
        """The different times at which rows became known, ascending."""
        return rows.select(ns_of(self.known).drop_nulls().unique().sort()).to_series().to_numpy()

    def step_ns(self, rows: pl.DataFrame) -> int:
        """The usual time from one row of a symbol to the next; a minute where there is none."""
        time = ns_of(self.known)
        gaps = rows.group_by(self.key[0]).agg(gap=time.unique().sort().diff().drop_nulls()).explode("gap")["gap"]
        usual = gaps.drop_nulls().median()
        return int(usual) if isinstance(usual, float) and usual >= 1 else NS_PER_MINUTE
