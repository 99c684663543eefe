"""Random rows of any table, from its definition: types, bounds, and nulls where they are allowed."""

import numpy as np
import polars as pl

from tapewatch.market.schema import Column, Table

_EPOCH_NS = 1_717_421_400_000_000_000


def rows_of(table: Table, count: int, seed: int = 7) -> pl.DataFrame:
    """`count` random rows with distinct keys in order of time, times in whole microseconds."""
    rng = np.random.default_rng(seed)
    return table.conform(pl.DataFrame({column.name: _series(column, table, count, rng) for column in table.columns}))


def _series(column: Column, table: Table, count: int, rng: np.random.Generator) -> pl.Series:
    steps = np.arange(count)
    has_time_in_key = any(isinstance(table.by_name[name].dtype, pl.Datetime) for name in table.key)
    series: pl.Series
    if isinstance(column.dtype, pl.Datetime):
        series = pl.Series(column.name, _EPOCH_NS + steps * 1_000_001_000).cast(pl.Datetime("ns", "UTC"))
    elif column.name in table.key and column.dtype.is_integer():
        series = pl.Series(column.name, steps + 1)
    elif column.name in table.key:
        series = pl.Series(column.name, [f"{column.name} {step % 7 if has_time_in_key else step}" for step in steps])
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
