"""Microstructure features, minute by minute."""

import dagster as dg

from assets.about import about_table
from assets.partitions import MARKET_DAYS, ONE_RUN, run_partitions
from resources.lake import Days, LakeTable
from tapewatch.features.microstructure import microstructure as minute_rows
from tapewatch.market.tables import MICROSTRUCTURE
from tapewatch.store.tape import symbol_batches


@dg.asset(
    **about_table(MICROSTRUCTURE, "numba"),
    partitions_def=MARKET_DAYS,
    backfill_policy=ONE_RUN,
    ins={name: dg.AssetIn(["tape", name]) for name in ("trades", "quotes")},
)
def microstructure(context: dg.AssetExecutionContext, trades: LakeTable, quotes: LakeTable) -> Days:  # noqa: ARG001
    """Order flow, liquidity and volatility of every symbol and minute, a few symbols in memory at a time."""
    return Days(
        (partition, (minute_rows(*tape, partition.session) for tape in symbol_batches(trades.lake, partition)))
        for partition in run_partitions(context)
    )
