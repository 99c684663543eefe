"""Tables: named, typed, bounded columns and a key; checks of a frame against them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import MappingProxyType

import polars as pl
import pyarrow as pa

from tapewatch.market.instruments import Market
from tapewatch.market.prices import may_be_negative

_ARROW_TYPES: dict[pl.DataType, pa.DataType] = {
    pl.Datetime("ns", "UTC"): pa.timestamp("ns", "UTC"),
    pl.Categorical(): pa.dictionary(pa.uint32(), pa.large_string()),
    pl.String(): pa.large_string(),
    pl.Float64(): pa.float64(),
    pl.Int64(): pa.int64(),
    pl.Int32(): pa.int32(),
    pl.Int16(): pa.int16(),
    pl.Int8(): pa.int8(),
    pl.Boolean(): pa.bool_(),
}


class SchemaError(ValueError):
    """A frame does not fit its table; the message names the table, the column and the fault."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column. Bounds are inclusive and ignore nulls.

    The bounds of a price depend on the market (`prices.py`). 0 is the price of an empty side of a quote.
    """

    name: str
    dtype: pl.DataType
    description: str
    unit: str = ""
    is_nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    is_price: bool = False


@dataclass(frozen=True)
class Table:
    """A named table. Rows are unique by `key` and sorted by it; `group` and `name` give the asset key and lake path."""

    name: str
    group: str
    description: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    sort: tuple[str, ...] = ()
    #: Rows that a later computation replaces are kept as versions; the key is symbol and event_time, and there is a known_time.
    is_versioned: bool = False
    by_name: MappingProxyType[str, Column] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", MappingProxyType({column.name: column for column in self.columns}))
        object.__setattr__(self, "sort", self.sort or self.key)
        for name in (*self.key, *self.sort):
            if name not in self.by_name:
                raise SchemaError(f"{self.name}: the key or sort names {name!r}, which is not a column")

    @property
    def schema(self) -> pl.Schema:
        """Column names and Polars dtypes, in order."""
        return pl.Schema({column.name: column.dtype for column in self.columns})

    @property
    def arrow_schema(self) -> pa.Schema:
        """The Parquet schema, with nullability."""
        return pa.schema([pa.field(c.name, _ARROW_TYPES[c.dtype], nullable=c.is_nullable) for c in self.columns])

    def empty(self) -> pl.DataFrame:
        """A frame of this table's schema and no rows."""
        return pl.DataFrame(schema=self.schema)

    def conform(self, frame: pl.DataFrame) -> pl.DataFrame:
        """`frame` with exactly this table's columns, in order and cast; absent nullable columns become null.

        Raises:
            SchemaError: a required column is absent, or a value does not survive the cast.
        """
        missing = [c.name for c in self.columns if c.name not in frame.columns and not c.is_nullable]
        if missing:
            raise SchemaError(f"{self.name}: missing column(s) {', '.join(missing)}; has {', '.join(frame.columns)}")
        schema = frame.schema
        if all(schema.get(column.name) == column.dtype for column in self.columns):
            # No query: on a small frame it would take longer than all else.
            return pl.DataFrame([frame[column.name] for column in self.columns])
        try:
            return frame.select(
                pl.col(c.name).cast(c.dtype) if c.name in frame.columns else pl.lit(None, dtype=c.dtype).alias(c.name)
                for c in self.columns
            )
        except pl.exceptions.PolarsError as error:
            raise SchemaError(f"{self.name}: {error}") from error

    def problems(self, frame: pl.DataFrame, market: Market | None = None) -> Iterator[str]:
        """One sentence for each fault of `frame`: schema, nulls, NaN, ranges; but not repeated keys, see `duplicates`.

        Prices are checked if the market is given.
        """
        if frame.schema != self.schema:
            yield from _schema_problems(self.schema, frame.schema)
            return
        if not frame.height:
            return
        faults = frame.select(
            expression.sum().alias(f"{column.name}: {fault}")
            for column in self.columns
            for fault, expression in _faults(column, market)
        )
        yield from (f"{fault} in {count:,} row(s)" for fault, count in faults.row(0, named=True).items() if count)

    def check(self, frame: pl.DataFrame, market: Market | None = None) -> None:
        """Raise a SchemaError that lists every problem of `frame`; see `problems`."""
        problems = list(self.problems(frame, market))
        if problems:
            raise SchemaError(f"{self.name}: " + "; ".join(problems))

    def duplicates(self, frame: pl.DataFrame) -> int:
        """How many rows repeat the key of an earlier row."""
        return frame.height - frame.select(pl.struct(self.key).n_unique()).item() if frame.height else 0


def _schema_problems(expected: pl.Schema, found: pl.Schema) -> Iterator[str]:
    for name, dtype in expected.items():
        if name not in found:
            yield f"{name}: missing"
        elif found[name] != dtype:
            yield f"{name}: is {found[name]}, should be {dtype}"
    yield from (f"{name}: unknown column" for name in found if name not in expected)
    if list(expected) != list(found) and set(expected) == set(found):
        yield f"columns are in another order: {', '.join(found)}"


def _faults(column: Column, market: Market | None) -> Iterator[tuple[str, pl.Expr]]:
    value = pl.col(column.name)
    if not column.is_nullable:
        yield "null", value.is_null()
    if column.dtype.is_float():
        yield "NaN or infinite", ~value.is_finite()
    if column.minimum is not None:
        yield f"below {column.minimum:g}", value < column.minimum
    if column.maximum is not None:
        yield f"above {column.maximum:g}", value > column.maximum
    if column.is_price and market is not None and not may_be_negative(market):
        # Zero is the price of an empty side of a quote.
        yield "below 0", value < 0
