"""Features of symbols among the others of their market, and the states of the market."""

from collections.abc import Iterator
from functools import cache

import dagster as dg
import polars as pl
from pydantic import BaseModel, Field

from assets import judgements
from assets.about import about_days
from assets.checks import Check, Checked, commit_days
from assets.config import config_of, plain
from assets.loading import warn
from resources.lake import LakeTable
from tapewatch.features.cross_asset.rows import cross_asset as cross_asset_rows
from tapewatch.features.regimes.blocks import block_panel
from tapewatch.features.regimes.hidden_markov import RegimeModel
from tapewatch.features.regimes.rows import regimes as regime_rows
from tapewatch.lookahead.catalogue import regimes_with
from tapewatch.lookahead.computation import Computation
from tapewatch.market.arrays import Array
from tapewatch.market.feature_tables import CROSS_ASSET, REGIMES
from tapewatch.market.instruments import Partition
from tapewatch.store.lake.tape import tape_end

_CHECKS = (Check(judgements.no_look_ahead),)
_COLUMNS = ("symbol", "time", "known_time", "close")


class RegimesConfig(BaseModel):
    """The days on which the states are fitted."""

    days: int = Field(5, ge=1, le=60, description="newest earlier days of the market in the lake")


@dg.asset(**about_days(CROSS_ASSET, "numba", checks=_CHECKS), ins={"bars": dg.AssetIn(["tape", "bars"])})
def cross_asset(context: dg.AssetExecutionContext, bars: LakeTable) -> Checked:
    """Correlation, beta, residuals, lead and lag, and the pair of every symbol, from the market's minute bars."""

    def frames(partition: Partition) -> Iterator[pl.DataFrame]:
        yield cross_asset_rows(_closes(bars, partition), partition.session)

    yield from commit_days(context, CROSS_ASSET, bars.lake, frames, _CHECKS)


@dg.asset(
    **about_days(REGIMES, "hmmlearn", checks=_CHECKS),
    ins={"bars": dg.AssetIn(["tape", "bars"])},
    config_schema=plain(RegimesConfig),
)
def regimes(context: dg.AssetExecutionContext, bars: LakeTable) -> Checked:
    """Calm, normal or turbulent, rising or falling: filtered with a model of the days before; the first day has none."""
    config = config_of(context, RegimesConfig)

    @cache
    def model(partition: Partition) -> RegimeModel | None:
        earlier = [day for day in bars.partitions() if day.market == partition.market and day.date < partition.date]
        days = [_blocks(bars, day) for day in earlier[-config.days :]]
        return RegimeModel.fit(days)

    def frames(partition: Partition) -> Iterator[pl.DataFrame]:
        if model(partition) is None:
            warn(context, f"{partition}: too few earlier days to fit the states: volatility and trend alone")
        through = tape_end(bars.lake, partition)
        yield regime_rows(_closes(bars, partition), partition.session, model(partition), through_ns=through)

    def computation(partition: Partition) -> Computation:
        return regimes_with(model(partition))

    yield from commit_days(context, REGIMES, bars.lake, frames, _CHECKS, computation=computation)


def _closes(bars: LakeTable, partition: Partition) -> pl.DataFrame:
    return bars.scan(partition).select(_COLUMNS).collect()


def _blocks(bars: LakeTable, partition: Partition) -> tuple[tuple[str, ...], Array]:
    through = tape_end(bars.lake, partition)
    panel, volatility, _ = block_panel(_closes(bars, partition), partition.session, through_ns=through)
    return panel.symbols, volatility
