"""Microstructure features, minute by minute."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from assets import judgements
from assets.about import about_days
from assets.checks import Check, Checked, commit_days
from resources.lake import LakeTable
from tapewatch.features.microstructure import microstructure as minute_rows
from tapewatch.market.instruments import Partition
from tapewatch.market.tables import MICROSTRUCTURE
from tapewatch.store.lake.tape import symbol_batches

_CHECKS = (Check(judgements.no_look_ahead),)


@dg.asset(
    **about_days(MICROSTRUCTURE, "numba", checks=_CHECKS),
    ins={"trades": dg.AssetIn(["tape", "trades"])},
    deps=[["tape", "quotes"], ["tape", "stream_batches"]],
)
def microstructure(context: dg.AssetExecutionContext, trades: LakeTable) -> Checked:
    """Order flow, liquidity and volatility of every symbol and minute, a few symbols in memory at a time."""

    def frames(partition: Partition) -> Iterator[pl.DataFrame]:
        return (minute_rows(*tape, partition.session) for tape in symbol_batches(trades.lake, partition))

    yield from commit_days(context, MICROSTRUCTURE, trades.lake, frames, _CHECKS)
