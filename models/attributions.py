"""ATTRIBUTIONS frames from contributions."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from models.base import Scores
from tapewatch.market.tables.tape import ATTRIBUTIONS


@dataclass(frozen=True, slots=True)
class Explanation:
    """`contributions` (rows x inputs or features) and `base`: a row's sum and the base add up to what is explained."""

    contributions: Scores
    base: float


def attributions_of(rows: pl.DataFrame, features: Sequence[str], contributions: Scores, scores: Scores) -> pl.DataFrame:
    """An ATTRIBUTIONS frame of feature rows, their contributions (rows x `features`) and scores."""
    if rows.is_empty():
        return ATTRIBUTIONS.empty()
    wide = rows.select("symbol", "event_time").with_columns(score=pl.Series(scores))
    long = [
        wide.with_columns(
            feature=pl.lit(name),
            value=rows[name].cast(pl.Float64) if name in rows.columns else pl.lit(None, pl.Float64),
            shap_value=pl.Series(contributions[:, at]),
        )
        for at, name in enumerate(features)
    ]
    return ATTRIBUTIONS.conform(pl.concat(long)).sort(
        pl.col("symbol").cast(pl.String), "event_time", pl.col("feature").cast(pl.String)
    )
