"""The features of a minute that are held against their usual size, as panels of minutes and symbols."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.features.robust import Floats


@dataclass(frozen=True, slots=True)
class Measure:
    """A feature of `MICROSTRUCTURE` rows; a signed one is measured by its size, and its deviation has its sign."""

    name: str
    value: pl.Expr
    is_signed: bool = False


MEASURES: Final = (
    Measure("volume", pl.col("volume")),
    Measure("trade_count", pl.col("trade_count")),
    Measure("quote_count", pl.col("quote_count")),
    Measure("quoted_spread_bps", pl.col("quoted_spread_bps")),
    Measure("realised_volatility_bps", pl.col("realised_volatility_bps")),
    Measure("range_bps", pl.col("range_bps")),
    Measure("return_bps", pl.col("return_bps"), is_signed=True),
    Measure("net_volume", pl.col("buy_volume") - pl.col("sell_volume"), is_signed=True),
)
#: The columns that the measures need of a day's rows.
COLUMNS: Final = (
    "symbol",
    "is_regular",
    "session_minute",
    *dict.fromkeys(name for each in MEASURES for name in each.value.meta.root_names()),
)


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
