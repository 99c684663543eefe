"""Minutes to score as plain arrays: a frame would cost a single row more time than its score."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl

from models.base import Scores

_NS = pl.Datetime("ns", "UTC")


@dataclass(frozen=True, slots=True)
class Minutes:
    """Feature values by minute.

    Attributes:
        features: names of the columns of `values`.
        symbols, times: of each row; times are aware.
        session_minutes: minutes since the regular open.
        values: rows x features, float64; NaN where a value is not known.
    """

    features: tuple[str, ...]
    symbols: Sequence[str]
    times: Sequence[dt.datetime]
    session_minutes: npt.NDArray[np.int64]
    values: Scores

    @classmethod
    def of_frame(cls, rows: pl.DataFrame, features: Sequence[str]) -> Self:
        """The minutes of `rows`: symbol, event_time, session_minute and `features`; null is NaN."""
        return cls(
            tuple(features),
            rows["symbol"].cast(pl.String).to_list(),
            _times_of(rows["event_time"].dt.cast_time_unit("us")),
            rows["session_minute"].fill_null(0).cast(pl.Int64).to_numpy(),
            rows.select(pl.col(features).cast(pl.Float64)).to_numpy().astype(np.float64, copy=False),
        )

    def to_frame(self) -> pl.DataFrame:
        """The same as columns; `known_time` is null, and so is a value that is NaN."""
        return pl.DataFrame(self.values, schema=list(self.features), orient="row").select(
            pl.Series("symbol", self.symbols, pl.String),
            pl.Series("event_time", self.times, pl.Datetime("us", "UTC")).cast(_NS),
            pl.lit(None, _NS).alias("known_time"),
            pl.Series("session_minute", self.session_minutes).cast(pl.Int32),
            pl.col(self.features).cast(pl.Float64).fill_nan(None),
        )

    def take(self, start: int, stop: int) -> Self:
        """Rows `start` to `stop`, excluded."""
        part = slice(start, stop)
        return type(self)(
            self.features, self.symbols[part], self.times[part], self.session_minutes[part], self.values[part]
        )

    def select(self, columns: npt.NDArray[np.int64]) -> Self:
        """The features at `columns`, in that order."""
        if len(columns) == len(self.features) and (columns == np.arange(len(columns))).all():
            return self
        features = tuple(self.features[at] for at in columns)
        return type(self)(features, self.symbols, self.times, self.session_minutes, self.values[:, columns])

    def __len__(self) -> int:
        return len(self.symbols)


def _times_of(times: pl.Series) -> list[dt.datetime]:
    """Times as Python's; the rows of a minute share one, which saves most of the time of making them."""
    distinct = times.unique()
    if 2 * distinct.len() > times.len():
        return times.to_list()
    at = dict(zip(distinct.to_physical().to_list(), distinct.to_list(), strict=True))
    return [at[each] for each in times.to_physical().to_list()]
