"""Compares the rows of two runs of a computation."""

from dataclasses import dataclass
from typing import Any

import polars as pl

from tapewatch.lookahead.computation import Computation


@dataclass(frozen=True)
class Difference:
    """Where two sets of rows differ: in these columns, or in `rows` (existence), `order` or `schema`.

    `row` has the key and known time of the first row that differs; none for a schema.
    """

    columns: tuple[str, ...]
    row: dict[str, Any]


def difference(computation: Computation, expected: pl.DataFrame, found: pl.DataFrame) -> Difference | None:
    """How `found` differs from `expected`, or None. Nulls equal nulls, NaN equals NaN; the order counts."""
    if expected.schema != found.schema:
        return Difference(("schema",), {})
    if expected.equals(found):
        return None
    expected, found = plain(expected), plain(found)
    names = [*dict.fromkeys([*computation.key, computation.known])]
    if not expected.select(computation.key).equals(found.select(computation.key)):
        one_sided = pl.concat(
            [
                expected.join(found, on=computation.key, how="anti", nulls_equal=True),
                found.join(expected, on=computation.key, how="anti", nulls_equal=True),
            ]
        ).sort(computation.known)
        if one_sided.height or expected.height != found.height:
            return Difference(("rows",), one_sided.select(names).head(1).to_dicts()[0] if one_sided.height else {})
        return Difference(("order",), {})
    unequal = {
        name: marks
        for name in expected.columns
        if (marks := _unequal(expected[name], found[name], computation.tolerance)).any()
    }
    if not unequal:
        return None
    rows = pl.DataFrame(unequal).select(pl.any_horizontal(pl.all())).to_series()
    first = expected.filter(rows).sort(computation.known).select(names).row(0, named=True)
    return Difference(tuple(unequal), first)


def plain(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with their categories as text."""
    return rows.with_columns(pl.col(pl.Categorical).cast(pl.String))


def _unequal(expected: pl.Series, found: pl.Series, tolerance: float) -> pl.Series:
    differs = expected.ne_missing(found)
    if tolerance == 0.0 or not expected.dtype.is_float():
        return differs
    gap = (expected - found).abs()
    scale = pl.DataFrame({"a": expected.abs(), "b": found.abs()}).max_horizontal()
    return differs & ~(gap <= tolerance * scale).fill_null(value=False)
