"""The files of a saved ensemble: its members' folders, and the levels as a table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import polars as pl

from models.base import DetectorError
from models.ensemble.calibration import Level, Levels

LEVELS: Final = "levels.parquet"
MEMBERS: Final = "members"
#: The name of the calibration of the mean among those of the members.
WHOLE: Final = "ensemble"


def member_folders(folder: Path) -> list[Path]:
    """The folder of each member of the ensemble saved in `folder`, in their order; named `NUMBER_NAME`."""
    return sorted((folder / MEMBERS).iterdir(), key=lambda path: int(path.name.partition("_")[0]))


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
    """The levels of the ensemble saved in `folder`, of each member by name and of WHOLE.

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
