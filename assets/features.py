"""Microstructure features, minute by minute."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from assets.about import about_days
from assets.checks import Checked, commit_days
from resources.lake import LakeTable
from tapewatch.features.from_bars import bar_features
from tapewatch.features.microstructure import microstructure as minute_rows
from tapewatch.market.instruments import Partition
from tapewatch.market.tables import BARS, MICROSTRUCTURE
from tapewatch.store.lake.tape import has_ticks, symbol_batches, tape_end


@dg.asset(
    **about_days(MICROSTRUCTURE, "numba"),
    ins={"trades": dg.AssetIn(["tape", "trades"])},
    deps=[["tape", "quotes"], ["tape", "bars"], ["tape", "stream_batches"]],
)
def microstructure(context: dg.AssetExecutionContext, trades: LakeTable) -> Checked:
    """Order flow, liquidity and volatility of every symbol and minute up to the tape's end; from bars where it has no ticks."""
    lake = trades.lake

    def frames(partition: Partition) -> Iterator[pl.DataFrame]:
        session, through = partition.session, tape_end(lake, partition)
        if has_ticks(lake, partition):
            # A few symbols in memory at a time.
            return (minute_rows(*tape, session, through_ns=through) for tape in symbol_batches(lake, partition))
        bars = lake.read(BARS, partition) if lake.exists(BARS, partition) else BARS.empty()
        return iter([bar_features(bars, session, through_ns=through)])

    yield from commit_days(context, MICROSTRUCTURE, lake, frames)
