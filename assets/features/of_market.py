"""Features that need other symbols or other days: a symbol among its market, the states of the market, the usual minute."""

from collections.abc import Iterator
from functools import cache

import dagster as dg
import polars as pl
from pydantic import BaseModel, Field

from assets.shared import look_ahead
from assets.shared.about import about_days
from assets.shared.checks import Check, Checked, commit_days
from assets.shared.config import config_of, plain
from assets.tape.loading import warn
from resources.lake import LakeTable
from tapewatch.features.cross_asset.correlations import correlations as correlation_rows
from tapewatch.features.cross_asset.rows import cross_asset as cross_asset_rows
from tapewatch.features.regimes.hidden_markov import RegimeModel
from tapewatch.features.regimes.rows import regimes as regime_rows
from tapewatch.features.seasonality.model import SeasonalModel
from tapewatch.features.seasonality.rows import seasonality as seasonality_rows
from tapewatch.lookahead.catalogue import MINUTES, MINUTES_OF_BARS, regimes_with, seasonality_with
from tapewatch.lookahead.computation import Computation
from tapewatch.market.instruments import Partition
from tapewatch.market.tables.features import CORRELATIONS, CROSS_ASSET, REGIMES, SEASONALITY
from tapewatch.store.lake.regimes import DAYS, closes, regime_model
from tapewatch.store.lake.seasonality import DAYS as SEASONAL_DAYS
from tapewatch.store.lake.seasonality import minutes_of, seasonal_model
from tapewatch.store.lake.tape import has_ticks, tape_end

_CHECKS = (Check(look_ahead.no_look_ahead),)


class RegimesConfig(BaseModel):
    """The days on which the states are fitted."""

    days: int = Field(DAYS, ge=1, le=60, description="newest earlier days of the market in the lake")


class SeasonalityConfig(BaseModel):
    """The days of which the usual minute is made."""

    days: int = Field(
        SEASONAL_DAYS, ge=1, le=60, description="newest earlier days of the market with features in the lake"
    )


@dg.asset(
    **about_days(CROSS_ASSET, "numba", checks=_CHECKS, is_day_by_day=True), ins={"bars": dg.AssetIn(["tape", "bars"])}
)
def cross_asset(context: dg.AssetExecutionContext, bars: LakeTable) -> Checked:
    """Correlation, beta, residuals, lead and lag, and the pair of every symbol, from the market's minute bars."""

    def frames(partition: Partition) -> Iterator[pl.DataFrame]:
        yield cross_asset_rows(closes(bars.lake, partition), partition.session)

    yield from commit_days(context, CROSS_ASSET, bars.lake, frames, _CHECKS)


@dg.asset(
    **about_days(CORRELATIONS, "numba", checks=_CHECKS, is_day_by_day=True), ins={"bars": dg.AssetIn(["tape", "bars"])}
)
def correlations(context: dg.AssetExecutionContext, bars: LakeTable) -> Checked:
    """The matrix of correlations of the market's symbols over half an hour and an hour, every five minutes."""

    def frames(partition: Partition) -> Iterator[pl.DataFrame]:
        yield correlation_rows(closes(bars.lake, partition), partition.session)

    yield from commit_days(context, CORRELATIONS, bars.lake, frames, _CHECKS)


@dg.asset(
    **about_days(REGIMES, "hmmlearn", checks=_CHECKS, is_day_by_day=True),
    ins={"bars": dg.AssetIn(["tape", "bars"])},
    config_schema=plain(RegimesConfig),
)
def regimes(context: dg.AssetExecutionContext, bars: LakeTable) -> Checked:
    """Calm, normal or turbulent, rising or falling: filtered with a model of the days before; the first day has none."""
    config = config_of(context, RegimesConfig)

    @cache
    def model(partition: Partition) -> RegimeModel | None:
        return regime_model(bars.lake, partition, config.days)

    def frames(partition: Partition) -> Iterator[pl.DataFrame]:
        if model(partition) is None:
            warn(context, f"{partition}: too few earlier days to fit the states: volatility and trend alone")
        through = tape_end(bars.lake, partition)
        yield regime_rows(closes(bars.lake, partition), partition.session, model(partition), through_ns=through)

    def computation(partition: Partition) -> Computation:
        return regimes_with(model(partition))

    yield from commit_days(context, REGIMES, bars.lake, frames, _CHECKS, computation=computation)


@dg.asset(
    **about_days(SEASONALITY, "numpy", checks=_CHECKS, is_day_by_day=True),
    ins={"microstructure": dg.AssetIn(["features", "microstructure"])},
    deps=[["features", "microstructure_more"]],
    config_schema=plain(SeasonalityConfig),
)
def seasonality(context: dg.AssetExecutionContext, microstructure: LakeTable) -> Checked:
    """Minutes against the symbol's profile over the day and its level of the last hour; the first day has no profile."""
    config = config_of(context, SeasonalityConfig)

    lake = microstructure.lake

    @cache
    def model(partition: Partition) -> SeasonalModel | None:
        return seasonal_model(lake, partition, config.days)

    def frames(partition: Partition) -> Iterator[pl.DataFrame]:
        if model(partition) is None:
            warn(context, f"{partition}: no earlier day has features: its minutes have no usual size")
        rows = minutes_of(lake, partition, needs_more=has_ticks(lake, partition))
        yield seasonality_rows(rows.collect(), model(partition))

    def computation(partition: Partition) -> Computation:
        minutes = MINUTES if has_ticks(lake, partition) else MINUTES_OF_BARS
        return seasonality_with(model(partition), minutes)

    yield from commit_days(context, SEASONALITY, lake, frames, _CHECKS, computation=computation)
