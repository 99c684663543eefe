"""The state of a symbol's market when an event began."""

import datetime as dt
from typing import Any

import polars as pl

from tapewatch.market.instruments import Partition
from tapewatch.market.tables.features import REGIMES
from tapewatch.store.lake.lake import Lake


def regime_at(lake: Lake, partition: Partition, symbol: str, time: dt.datetime) -> dict[str, Any] | None:
    """The newest `REGIMES` row of the day that was known at a time, without the symbol; None where there is none."""
    if not lake.exists(REGIMES, partition):
        return None
    known = lake.read(REGIMES, partition, symbols=[symbol]).filter(pl.col("known_time") <= time)
    if known.is_empty():
        return None
    row = known.sort("event_time").tail(1).drop("symbol")
    return row.with_columns(pl.col(pl.Categorical).cast(pl.String)).row(0, named=True)


def regime_words(regime: dict[str, Any] | None) -> str:
    """Such as `turbulent (97 %), volatility high, falling`; a dash where nothing is known."""
    if regime is None:
        return "–"
    said = []
    if (state := regime["regime"]) is not None:
        said.append(f"{state} ({100 * regime[f'probability_{state}']:.0f} %)")
    if regime["volatility_level"] is not None:
        said.append(f"volatility {regime['volatility_level']}")
    if regime["direction"] is not None:
        said.append(str(regime["direction"]))
    return ", ".join(said) or "–"
