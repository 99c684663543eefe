"""Features of every symbol, minute by minute."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from assets.about import about_days
from assets.checks import Checked, commit_days
from resources.lake import LakeTable
from tapewatch.features.families.indicators import indicators as indicator_rows
from tapewatch.features.families.rows import microstructure_more as more_rows
from tapewatch.features.microstructure import microstructure as minute_rows
from tapewatch.market.feature_tables import INDICATORS, MICROSTRUCTURE_MORE
from tapewatch.market.instruments import Partition
from tapewatch.market.tables import BARS, MICROSTRUCTURE
from tapewatch.store.lake.lake import whole_symbol_groups
from tapewatch.store.lake.tape import symbol_batches

_BARS_AT_ONCE = 500_000


@dg.asset(
    **about_days(MICROSTRUCTURE, "numba"),
    ins={"trades": dg.AssetIn(["tape", "trades"])},
    deps=[["tape", "quotes"], ["tape", "stream_batches"]],
)
def microstructure(context: dg.AssetExecutionContext, trades: LakeTable) -> Checked:
    """Order flow, liquidity and volatility of every symbol and minute, a few symbols in memory at a time."""

    def frames(partition: Partition) -> Iterator[pl.DataFrame]:
        return (minute_rows(*tape, partition.session) for tape in symbol_batches(trades.lake, partition))

    yield from commit_days(context, MICROSTRUCTURE, trades.lake, frames)


@dg.asset(
    **about_days(MICROSTRUCTURE_MORE, "numba"),
    ins={"trades": dg.AssetIn(["tape", "trades"])},
    deps=[["tape", "quotes"], ["tape", "stream_batches"]],
)
def microstructure_more(context: dg.AssetExecutionContext, trades: LakeTable) -> Checked:
    """Further measures of order flow, liquidity and volatility, a few symbols in memory at a time."""

    def frames(partition: Partition) -> Iterator[pl.DataFrame]:
        return (more_rows(*tape, partition.session) for tape in symbol_batches(trades.lake, partition))

    yield from commit_days(context, MICROSTRUCTURE_MORE, trades.lake, frames)


@dg.asset(**about_days(INDICATORS, "numba"), ins={"bars": dg.AssetIn(["tape", "bars"])})
def indicators(context: dg.AssetExecutionContext, bars: LakeTable) -> Checked:
    """Indicators of every symbol's minute bars, a few symbols in memory at a time."""

    def frames(partition: Partition) -> Iterator[pl.DataFrame]:
        groups = whole_symbol_groups([bars.lake.symbols(BARS, partition)], _BARS_AT_ONCE)
        return (indicator_rows(bars.lake.read(BARS, partition, symbols=each), partition.session) for each in groups)

    yield from commit_days(context, INDICATORS, bars.lake, frames)
