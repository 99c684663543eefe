"""Bins of five seconds."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from assets.shared import look_ahead
from assets.shared.about import about_days
from assets.shared.checks import Check, Checked, commit_days
from resources.lake import LakeTable
from tapewatch.features.bins.batch import bins_5s as bins_of
from tapewatch.market.instruments import Partition
from tapewatch.market.tables.derived import BINS_5S
from tapewatch.store.lake.tape import has_ticks, symbol_batches

_CHECKS = (Check(look_ahead.no_look_ahead),)


@dg.asset(
    **about_days(BINS_5S, "numba", checks=_CHECKS, is_day_by_day=True),
    ins={"trades": dg.AssetIn(["tape", "trades"])},
    deps=[["tape", "quotes"], ["tape", "stream_batches"]],
)
def bins_5s(context: dg.AssetExecutionContext, trades: LakeTable) -> Checked:
    """What every symbol's tape did in bins of five seconds, a few symbols in memory at a time."""

    def frames(partition: Partition) -> Iterator[pl.DataFrame]:
        if not has_ticks(trades.lake, partition):
            return iter([BINS_5S.empty()])
        return (bins_of(*tape, partition.session) for tape in symbol_batches(trades.lake, partition))

    yield from commit_days(context, BINS_5S, trades.lake, frames, _CHECKS)
