"""A Hypothesis strategy for frames of any table, with all values that its definition allows."""

import datetime as dt
from typing import Any

import polars as pl
from hypothesis import strategies as st

from tapewatch.market.schema import Column, Table

_INTEGERS = {pl.Int8(): 100, pl.Int16(): 30_000, pl.Int32(): 2_000_000_000, pl.Int64(): 9_000_000_000_000_000_000}


def frames(table: Table, most: int = 6) -> st.SearchStrategy[pl.DataFrame]:
    """Frames of the table with any values that its columns allow; keys may be repeated."""
    row = st.fixed_dictionaries({column.name: _values(column, table) for column in table.columns})
    return st.lists(row, max_size=most).map(lambda rows: _frame(table, rows))


def _frame(table: Table, rows: list[dict[str, Any]]) -> pl.DataFrame:
    microseconds = {
        name: pl.Datetime("us", "UTC") if isinstance(dtype, pl.Datetime) else dtype
        for name, dtype in table.schema.items()
    }
    return table.conform(pl.DataFrame(rows, schema=microseconds, orient="row"))


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
