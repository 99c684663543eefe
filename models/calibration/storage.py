"""Levels as a table, in the folder of a saved detector."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import polars as pl

from models.base import DetectorError
from models.calibration.levels import Level, Levels

LEVELS: Final = "levels.parquet"


def frame_of(levels: Mapping[str, Levels]) -> pl.DataFrame:
    """The levels as a table: member, market, and the numbers of `Level.row`."""
    return pl.DataFrame(
        [
            {"member": name, "market": market, **level.row()}
            for name, own in levels.items()
            for market, level in own.by_market.items()
        ]
    )


def read_levels(folder: Path) -> dict[str, Levels]:
    """The levels saved in `folder`, by detector: of an ensemble, those of each member and of the whole.

    Raises:
        DetectorError: the table is missing, or is no such table.
    """
    found: dict[str, dict[str, Level]] = {}
    try:
        for row in pl.read_parquet(folder / LEVELS, glob=False).iter_rows(named=True):
            found.setdefault(row["member"], {})[row["market"]] = Level.of_row(row)
    except (KeyError, OSError, pl.exceptions.PolarsError) as error:
        raise DetectorError(f"{folder} cannot be used: {error}. Train the detector again") from error
    return {name: Levels(by_market) for name, by_market in found.items()}
