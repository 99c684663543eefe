"""How rarely ordinary tape reaches a detector's score: fitted and saved with the detector, and part of every answer."""

from pathlib import Path

import numpy as np
import polars as pl

from models.base import Scores
from models.calibration.levels import Levels, declared, hours_of_level, unbounded
from models.calibration.storage import LEVELS, frame_of, read_levels
from models.manifest import file_hash


def fit_levels(name: str, scores: Scores, rows: pl.DataFrame) -> Levels | None:
    """The levels of a detector's score, by market; None with too few ordinary minutes.

    Args:
        name: of the detector; of probabilities log odds are calibrated.
        scores: of `rows` as if their day were new; NaN is not judged.
        rows: symbol, event_time and, where known, `is_anomaly`: such minutes are not ordinary.
    """
    ordinary = np.where(declared(rows), np.nan, unbounded(name, scores))
    found = Levels.fit(ordinary, rows.select("symbol", "event_time"))
    return found if found.by_market else None


def hours_between(name: str, levels: Levels | None, scores: Scores, symbols: pl.Series) -> Scores | None:
    """The hours of ordinary tape of a symbol between scores as high; a million stands for more; None without levels."""
    if levels is None:
        return None
    return hours_of_level(levels.of(unbounded(name, scores), symbols, is_pooled=True))


def write_levels(folder: Path, name: str, levels: Levels | None) -> dict[str, str]:
    """Write the levels into the folder of a saved detector; returns the file's name and hash for the manifest."""
    if levels is None:
        (folder / LEVELS).unlink(missing_ok=True)
        return {}
    frame_of({name: levels}).write_parquet(folder / LEVELS)
    return {LEVELS: file_hash(folder / LEVELS)}


def stored_levels(folder: Path, name: str) -> Levels | None:
    """What `write_levels` wrote; None where it wrote nothing, or an earlier Tapewatch trained the detector.

    Raises:
        DetectorError: the file is damaged.
    """
    return read_levels(folder).get(name) if (folder / LEVELS).is_file() else None
