"""The features of a minute that are held against their usual size, as panels of minutes and symbols."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.features.robust import Floats
from tapewatch.market.arrays import flat
from tapewatch.market.tables.features import MICROSTRUCTURE_MORE, SEASONAL, is_signed
from tapewatch.market.tables.tape import MICROSTRUCTURE


@dataclass(frozen=True, slots=True)
class Measure:
    """A feature of a minute; a signed one is measured by its size, and its deviation has its sign."""

    name: str
    value: pl.Expr
    is_signed: bool = False


def _measure(name: str) -> Measure:
    value = pl.col("buy_volume") - pl.col("sell_volume") if name == "net_volume" else pl.col(name)
    return Measure(name, value, is_signed(name))


MEASURES: Final = tuple(_measure(name) for name in SEASONAL)
_NAMES: Final = tuple(dict.fromkeys(name for each in MEASURES for name in each.value.meta.root_names()))
#: The columns that the measures need of a day's `MICROSTRUCTURE` and `MICROSTRUCTURE_MORE` rows.
COLUMNS: Final = (
    "symbol",
    "is_regular",
    "session_minute",
    *(name for name in _NAMES if name in MICROSTRUCTURE.by_name),
)
MORE: Final = tuple(name for name in _NAMES if name in MICROSTRUCTURE_MORE.by_name)


def with_more(rows: pl.LazyFrame, more: pl.LazyFrame) -> pl.LazyFrame:
    """`MICROSTRUCTURE` rows with the measures of the `MICROSTRUCTURE_MORE` rows of the same minutes; null where there is none."""
    key = ("symbol", "event_time")
    return rows.join(more.select(*key, *MORE), on=key, how="left", maintain_order="left")


def complete(rows: pl.LazyFrame) -> pl.LazyFrame:
    """The rows with nulls for the measures of `MICROSTRUCTURE_MORE`, where they have none of them."""
    there = rows.collect_schema().names()
    return rows.with_columns(pl.lit(None, pl.Float64).alias(name) for name in MORE if name not in there)


def in_more(measure: Measure) -> bool:
    """Whether a measure is of `MICROSTRUCTURE_MORE` rather than of `MICROSTRUCTURE`."""
    return set(measure.value.meta.root_names()) <= set(MORE)


def measured(rows: pl.DataFrame, chosen: npt.NDArray[np.bool_]) -> Floats:
    """The values of the `MEASURES` that are marked in `chosen`: rows x measures, NaN for null and what is not finite."""
    measures = [measure for measure, is_chosen in zip(MEASURES, chosen, strict=True) if is_chosen]
    # A query is made only where a measure is none of the columns.
    columns = [
        rows[each.name] if each.name in rows.columns else rows.select(each.value).to_series() for each in measures
    ]
    values = np.stack([flat(column.cast(pl.Float64)) for column in columns], axis=1)
    return np.where(np.isfinite(values), values, np.nan)


def panel_of(rows: pl.LazyFrame, measure: Measure, symbols: Sequence[str]) -> Floats:
    """The measure's values in the regular minutes up to the last with a row: minutes x symbols.

    NaN where a symbol has no row, a null or a number that is not finite.
    """
    own = rows.filter("is_regular").select(
        pl.col("symbol").cast(pl.String),
        pl.col("session_minute").cast(pl.Int64),
        value=measure.value.cast(pl.Float64),
    )
    found = own.filter(pl.col("symbol").is_in(list(symbols)) & pl.col("value").is_finite()).collect()
    minute = found["session_minute"].to_numpy()
    panel = np.full((int(minute.max(initial=-1)) + 1, len(symbols)), np.nan)
    panel[minute, places(found["symbol"], symbols)] = found["value"].to_numpy()
    return panel


def places(names: pl.Series, symbols: Sequence[str]) -> npt.NDArray[np.int64]:
    """The place of each name among `symbols`, -1 where it is none of them."""
    found = names.cast(pl.String).cast(pl.Enum(symbols), strict=False).to_physical()
    return found.cast(pl.Int64).fill_null(-1).to_numpy()
