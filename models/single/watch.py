"""Any number of single series, scored row by row as they come."""

import os
import zipfile
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from models.base import DetectorError
from models.single.kernel import watch_rows, watch_series
from models.single.layout import PARTS, PERIOD_ROWS, Memory, fresh

__all__ = ["PARTS", "SeriesWatch"]

Floats = npt.NDArray[np.float64]

#: Raised when a saved state no longer fits the code.
_VERSION: Final = 1


class SeriesWatch:
    """Scores the rows of `series` series, each by its own past alone.

    A score is one minus the share of blocks of 32 rows, in the series so far, in which a row is as high: .99 is reached in
    one block of a hundred. It is 0 for the first 40 rows, and where the value is missing (NaN), infinite, or beyond 1e150.
    """

    def __init__(self, series: int = 1) -> None:
        if series < 1:
            raise DetectorError(f"a watch needs at least one series, not {series}")
        self._memory = fresh(series)
        self._surprises = np.zeros((series, len(PARTS)))

    @property
    def series(self) -> int:
        """The number of series."""
        return len(self._memory.numbers)

    @property
    def surprises(self) -> Floats:
        """series x PARTS: minus the natural logarithm of how rarely each statistic of the last row is as high."""
        return self._surprises.copy()

    @property
    def periods(self) -> Floats:
        """The period of each series in rows, found by autocorrelation; 0 where it has none."""
        return self._memory.numbers[:, PERIOD_ROWS].copy()

    def update(self, values: npt.ArrayLike, times: npt.ArrayLike = 0.0) -> Floats:
        """Score one row of every series and learn from it.

        `values` has one value a series. `times` are UTC seconds, one for all or one a series; without them no rhythm of
        the day or week is learnt. Repeated and earlier times are rows like any other.

        Raises:
            DetectorError: the number of values or times is not that of the series.
        """
        row = self._row("values", values)
        scores = np.empty(self.series)
        watch_series(self._row("times", times), row, self._memory, scores, self._surprises)
        return scores

    def scan(self, values: npt.ArrayLike, times: npt.ArrayLike = 0.0) -> Floats:
        """Score many rows of the one series: the same as `update` with each in turn.

        Raises:
            DetectorError: there are several series, or not as many times as values.
        """
        if self.series != 1:
            raise DetectorError(f"scan reads one series, and this watch has {self.series}: use update")
        rows = np.ascontiguousarray(values, dtype=np.float64)
        try:
            at = np.ascontiguousarray(np.broadcast_to(np.asarray(times, dtype=np.float64), rows.shape))
        except ValueError:
            raise DetectorError(f"{rows.size} values need as many times, not {np.size(times)}") from None
        scores = np.empty(len(rows))
        surprises = np.zeros((len(rows), len(PARTS)))
        watch_rows(at, rows, self._memory, scores, surprises)
        if len(rows):
            self._surprises[0] = surprises[-1]
        return scores

    def _row(self, name: str, given: npt.ArrayLike) -> Floats:
        array = np.asarray(given, dtype=np.float64)
        if name == "values" and array.shape not in {(self.series,), ()}:
            raise DetectorError(f"{self.series} series need as many values, not {array.size}")
        try:
            return np.ascontiguousarray(np.broadcast_to(array, (self.series,)))
        except ValueError:
            raise DetectorError(f"{self.series} series need as many {name}, not {array.size}") from None

    def save(self, path: Path, **notes: int) -> None:
        """Write the state, and whole numbers to keep with it, as `.npz`, without pickling; a crash leaves the earlier file whole."""
        partial = path.with_name(f"{path.name}.partial")
        with partial.open("wb") as file:
            np.savez(
                file,
                allow_pickle=False,
                version=np.array(_VERSION),
                surprises=self._surprises,
                **{f"memory_{name}": array for name, array in self._memory._asdict().items()},
                **{f"note_{name}": np.array(note) for name, note in notes.items()},
            )
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> tuple[Self, dict[str, int]]:
        """The watch as saved, whose scores go on bit for bit, and the numbers kept with it.

        Raises:
            DetectorError: the file is no state of this version.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                found = {name: arrays[name] for name in arrays.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            if isinstance(error, FileNotFoundError | PermissionError):
                raise
            raise DetectorError(f"{path} is no saved watch: delete it to start anew") from None
        if "version" not in found or int(found["version"]) != _VERSION:
            raise DetectorError(f"{path} was saved by another version of Tapewatch: delete it to start anew")
        watch = cls(len(found["surprises"]))
        for name, array in watch._memory._asdict().items():
            saved = found.get(f"memory_{name}")
            if saved is None or saved.shape != array.shape or saved.dtype != array.dtype:
                raise DetectorError(f"{path} holds no {name} as this version keeps it: delete it to start anew")
        watch._memory = Memory(**{name: found[f"memory_{name}"] for name in Memory._fields})
        watch._surprises = found["surprises"]
        return watch, {name.removeprefix("note_"): int(found[name]) for name in found if name.startswith("note_")}
