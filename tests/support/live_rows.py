"""Rows for any table, made from its definition: within bounds, of its types, null where that is allowed.

Belongs here: rows that mean nothing but fit. Not here: rows of a market.
"""

import datetime as dt
from typing import Any

import numpy as np
import polars as pl
from hypothesis import strategies as st

from tapewatch.market.schema import Column, Table

_EPOCH_NS = 1_717_421_400_000_000_000
_INTEGERS = {pl.Int8(): 100, pl.Int16(): 30_000, pl.Int32(): 2_000_000_000, pl.Int64(): 9_000_000_000_000_000_000}


def rows_of(table: Table, count: int, seed: int = 7) -> pl.DataFrame:
    """`count` random rows with distinct keys, in the order of time, times in whole microseconds."""
    rng = np.random.default_rng(seed)
    return table.conform(pl.DataFrame({column.name: _series(column, table, count, rng) for column in table.columns}))


def frames(table: Table, most: int = 6) -> st.SearchStrategy[pl.DataFrame]:
    """Frames of the table's schema with whatever values its columns allow; keys may occur twice."""
    row = st.fixed_dictionaries({column.name: _values(column, table) for column in table.columns})
    return st.lists(row, max_size=most).map(lambda rows: _frame(table, rows))


def _frame(table: Table, rows: list[dict[str, Any]]) -> pl.DataFrame:
    microseconds = {
        name: pl.Datetime("us", "UTC") if isinstance(dtype, pl.Datetime) else dtype
        for name, dtype in table.schema.items()
    }
    return table.conform(pl.DataFrame(rows, schema=microseconds, orient="row"))


def _series(column: Column, table: Table, count: int, rng: np.random.Generator) -> pl.Series:
    steps = np.arange(count)
    series: pl.Series
    if isinstance(column.dtype, pl.Datetime):
        series = pl.Series(column.name, _EPOCH_NS + steps * 1_000_001_000).cast(pl.Datetime("ns", "UTC"))
    elif column.name in table.key:
        series = pl.Series(column.name, [f"{column.name} {step % 7 if len(table.key) > 1 else step}" for step in steps])
    elif column.dtype in (pl.String(), pl.Categorical()):
        words = np.array(["", "plain", 'a "quote"', "two\nlines", "comma, and ;", "\\N", "naïve ☃"])
        series = pl.Series(column.name, rng.choice(words, count).tolist(), dtype=pl.String)
    elif column.dtype == pl.Boolean():
        series = pl.Series(column.name, rng.random(count) < 0.5)
    else:
        low = -1.0 if column.minimum is None else column.minimum
        series = pl.Series(column.name, low + rng.random(count) * ((column.maximum or low + 1_000) - low))
        series = series.cast(column.dtype) if column.dtype.is_integer() else series
    is_null = pl.Series(rng.random(count) < 0.2) if column.is_nullable else pl.Series(np.zeros(count, bool))
    return series.to_frame().select(pl.when(~is_null).then(pl.first())).to_series().alias(column.name)


def _values(column: Column, table: Table) -> st.SearchStrategy[Any]:
    values: st.SearchStrategy[Any]
    if isinstance(column.dtype, pl.Datetime):
        values = st.datetimes(dt.datetime(1970, 1, 1), dt.datetime(2200, 1, 1), timezones=st.just(dt.UTC))  # noqa: DTZ001
    elif column.dtype in (pl.String(), pl.Categorical()):
        values = st.sampled_from(["a", "b", ""]) if column.name in table.key else st.text(max_size=8)
    elif column.dtype == pl.Boolean():
        values = st.booleans()
    elif column.dtype.is_integer():
        most = _INTEGERS[column.dtype]
        low, high = column.minimum, column.maximum
        values = st.integers(-most if low is None else int(low), most if high is None else int(high))
    else:
        values = st.floats(column.minimum, column.maximum, allow_nan=False, allow_infinity=False)
    return st.none() | values if column.is_nullable else values
