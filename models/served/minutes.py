"""Minutes to score as plain arrays: a frame would cost a single row more time than its score.

Minutes share symbols and times. Each of these is held once, so that work on it is done once.
"""

import datetime as dt
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Final, Self, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from models.base import Scores

Indices = npt.NDArray[np.int64]
Value = TypeVar("Value", bound=Hashable)
_NS: Final = pl.Datetime("ns", "UTC")
_FIRST: Final = np.zeros(1, dtype=np.int64)
_UNPLACED: Final = np.full(1, -1, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Minutes:
    """Feature values by minute.

    Attributes:
        features: names of the columns of `values`.
        names: distinct symbols; one may have no row.
        of_name: the place of each row's symbol in `names`.
        moments: distinct times, aware; one may have no row.
        of_moment: the place of each row's time in `moments`.
        session_minutes: minutes since the regular open; -1 where they are not known.
        values: rows x features, float64; NaN where a value is not known.
    """

    features: tuple[str, ...]
    names: Sequence[str]
    of_name: Indices
    moments: Sequence[dt.datetime]
    of_moment: Indices
    session_minutes: Indices
    values: Scores

    @classmethod
    def of(cls, features: Sequence[str], symbols: Sequence[str], times: Sequence[dt.datetime], values: Scores) -> Self:
        """From the symbol and the time of each row, whose minute of the session is not known."""
        if len(symbols) == 1:
            return cls(tuple(features), symbols, _FIRST, times, _FIRST, _UNPLACED, values)
        unplaced = np.full(len(symbols), -1, dtype=np.int64)
        return cls(tuple(features), *numbered(symbols), *numbered(times), unplaced, values)

    @classmethod
    def of_frame(cls, rows: pl.DataFrame, features: Sequence[str]) -> Self:
        """The minutes of `rows`: symbol, event_time and `features`, and session_minute if they have it; null is NaN."""
        minute = pl.col("session_minute").fill_null(0) if "session_minute" in rows.columns else pl.repeat(-1, pl.len())
        return cls(
            tuple(features),
            *numbered(rows["symbol"].cast(pl.String).to_list()),
            *distinct_times(rows["event_time"].dt.epoch("us").to_numpy()),
            rows.select(minute.cast(pl.Int64)).to_series().to_numpy(),
            rows.select(pl.col(features).cast(pl.Float64)).to_numpy().astype(np.float64, copy=False),
        )

    @property
    def symbols(self) -> list[str]:
        """The symbol of each row."""
        return list(map(self.names.__getitem__, self.of_name.tolist()))

    @property
    def times(self) -> list[dt.datetime]:
        """The time of each row."""
        return list(map(self.moments.__getitem__, self.of_moment.tolist()))

    def to_frame(self) -> pl.DataFrame:
        """The same as columns; `known_time` is null, and so is a value that is NaN."""
        return pl.DataFrame(self.values, schema=list(self.features), orient="row").select(
            pl.Series("symbol", self.symbols, pl.String),
            pl.Series("event_time", self.times, pl.Datetime("us", "UTC")).cast(_NS),
            pl.lit(None, _NS).alias("known_time"),
            pl.Series("session_minute", self.session_minutes).cast(pl.Int32),
            pl.col(self.features).cast(pl.Float64).fill_nan(None),
        )

    def take(self, at: slice | Indices) -> Self:
        """The rows at `at`."""
        places = self.names, self.of_name[at], self.moments, self.of_moment[at]
        return type(self)(self.features, *places, self.session_minutes[at], self.values[at])

    def placed(self, session_minutes: Indices) -> Self:
        """The same rows with their minutes of the session."""
        places = self.names, self.of_name, self.moments, self.of_moment
        return type(self)(self.features, *places, session_minutes, self.values)

    def select(self, columns: Indices) -> Self:
        """The features at `columns`, in that order."""
        if len(columns) == len(self.features) and (columns == np.arange(len(columns))).all():
            return self
        features = tuple(self.features[at] for at in columns)
        places = self.names, self.of_name, self.moments, self.of_moment
        return type(self)(features, *places, self.session_minutes, self.values[:, columns])

    def __len__(self) -> int:
        return len(self.of_name)


def numbered(values: Sequence[Value]) -> tuple[list[Value], Indices]:
    """The distinct values, in order of their first row, and the place of each row's among them."""
    places = {value: at for at, value in enumerate(dict.fromkeys(values))}
    return list(places), np.fromiter(map(places.__getitem__, values), np.int64, len(values))


def distinct_times(microseconds: Indices) -> tuple[list[dt.datetime], Indices]:
    """The distinct times of microseconds since 1970, and the place of each row's among them."""
    distinct, places = np.unique(microseconds, return_inverse=True)
    return pl.Series(distinct).cast(pl.Datetime("us", "UTC")).to_list(), places.astype(np.int64, copy=False)


def distinct_below(bound: int, numbers: Indices) -> list[int]:
    """The distinct of many numbers from 0 to `bound`, excluded, in order."""
    is_there = np.zeros(bound, dtype=np.bool_)
    is_there[numbers] = True
    return list(np.flatnonzero(is_there).tolist())
