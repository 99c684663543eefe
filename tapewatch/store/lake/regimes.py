"""The model of a market's states for a day, fitted on the days of the lake before it: for the asset and for collectors."""

from typing import Final

import polars as pl

from tapewatch.features.regimes.blocks import block_panel
from tapewatch.features.regimes.hidden_markov import RegimeModel
from tapewatch.market.arrays import Array
from tapewatch.market.instruments import Partition
from tapewatch.market.tables.tape import BARS
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.tape import tape_end

#: Days of a fit.
DAYS: Final = 5
_COLUMNS = ("symbol", "time", "known_time", "close")


def regime_model(lake: Lake, partition: Partition, days: int = DAYS) -> RegimeModel | None:
    """The model fitted on the newest `days` days of the partition's market before it; None with too few blocks.

    Raises:
        LakeError: the lake cannot be read.
    """
    earlier = [day for day in lake.partitions(BARS, partition.market) if day.date < partition.date]
    return RegimeModel.fit([_blocks(lake, day) for day in earlier[-days:]])


def closes(lake: Lake, partition: Partition) -> pl.DataFrame:
    """What the regimes and the features across symbols read of a day's bars."""
    return lake.scan(BARS, partition).select(_COLUMNS).collect()


def _blocks(lake: Lake, partition: Partition) -> tuple[tuple[str, ...], Array]:
    through = tape_end(lake, partition)
    panel, volatility, _ = block_panel(closes(lake, partition), partition.session, through_ns=through)
    return panel.symbols, volatility
