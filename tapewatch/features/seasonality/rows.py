"""`SEASONALITY` rows of a market's `MICROSTRUCTURE` rows."""

import numpy as np
import polars as pl

from tapewatch.features.families.rows import known
from tapewatch.features.robust import Floats
from tapewatch.features.seasonality.measures import MEASURES, complete, places
from tapewatch.features.seasonality.model import SeasonalModel
from tapewatch.market.arrays import flat
from tapewatch.market.tables.features import SEASONALITY


def seasonality(rows: pl.DataFrame, model: SeasonalModel | None) -> pl.DataFrame:
    """`SEASONALITY` rows, one for each regular minute of `rows`.

    A symbol without earlier days, and every symbol without a model, has nulls.

    Args:
        rows: a day's `MICROSTRUCTURE` rows, sorted by symbol and time; the columns of the key, `known_time` and
            `measures.COLUMNS`, and those of `measures.MORE` unless they are to be null.
        model: fitted on earlier days.
    """
    regular = complete(rows.lazy()).filter("is_regular").collect()
    symbol = places(regular["symbol"], model.symbols if model else ())
    minute = regular["session_minute"].to_numpy().astype(np.int64)
    is_known = symbol >= 0
    columns: dict[str, Floats] = {}
    values = regular.select(each.value.cast(pl.Float64).alias(each.name) for each in MEASURES)
    for measure in MEASURES:
        usual = deviation = np.full(regular.height, np.nan)
        if model is not None and regular.height:
            whole = np.full((int(minute.max()) + 1, len(model.symbols)), np.nan)
            value = flat(values[measure.name], null=np.nan)
            whole[minute[is_known], symbol[is_known]] = np.where(np.isfinite(value), value, np.nan)[is_known]
            usual, deviation = (
                np.where(symbol >= 0, found[minute, symbol], np.nan) for found in model.judged(measure, whole)
            )
        found = {f"usual_{measure.name}": usual, f"{measure.name}_deviation": deviation}
        columns |= {name: column for name, column in found.items() if name in SEASONALITY.by_name}
    days = _days(model)[symbol] if model else np.zeros(regular.height, np.int64)
    keys = regular.select("symbol", "event_time", "known_time").with_columns(days=pl.Series(days, dtype=pl.Int64))
    return SEASONALITY.conform(keys.with_columns(**known(columns)))


def _days(model: SeasonalModel) -> Floats:
    """Earlier days with a volume by symbol, and 0 for one that is not among them."""
    return np.append(model.measures["volume"].days, 0.0).astype(np.int64)
