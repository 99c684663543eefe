"""A lake with a day of features of two symbols, for tests of the feature store."""

from pathlib import Path

import polars as pl

from tapewatch.features.bins.batch import bins_5s
from tapewatch.features.microstructure import microstructure
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.derived import BINS_5S
from tapewatch.market.tables.tape import MICROSTRUCTURE
from tapewatch.store.lake.lake import Lake
from tests.support.tapes import DAY, random_tape, stock_session

PARTITION = Partition(DAY, Market.STOCKS)


def write_features(home: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Write minutes and bins under `home`; returns both."""
    lake, session = Lake(home / "lake"), stock_session()
    tape = random_tape(1)
    minutes, bins = microstructure(*tape, session), bins_5s(*tape, session)
    lake.write(MICROSTRUCTURE, PARTITION, minutes)
    lake.write(BINS_5S, PARTITION, bins)
    return lake.read(MICROSTRUCTURE, PARTITION), lake.read(BINS_5S, PARTITION)
