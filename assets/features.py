"""Microstructure features, minute by minute."""

import dagster as dg

from assets.about import about_days
from assets.checks import Checked, results
from assets.partitions import run_partitions
from resources.lake import Days, LakeTable
from tapewatch.features.microstructure import microstructure as minute_rows
from tapewatch.market.tables import MICROSTRUCTURE
from tapewatch.store.lake.tape import symbol_batches


@dg.asset(
    **about_days(MICROSTRUCTURE, "numba"),
    ins={"trades": dg.AssetIn(["tape", "trades"])},
    deps=[["tape", "quotes"], ["tape", "stream_batches"]],
)
def microstructure(context: dg.AssetExecutionContext, trades: LakeTable) -> Checked:
    """Order flow, liquidity and volatility of every symbol and minute, a few symbols in memory at a time."""
    yield dg.Output(
        Days(
            (partition, (minute_rows(*tape, partition.session) for tape in symbol_batches(trades.lake, partition)))
            for partition in run_partitions(context)
        )
    )
    yield from results(context, MICROSTRUCTURE, trades.lake)
