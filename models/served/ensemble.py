"""The ensemble, served: its members' scores, and their levels combined in NumPy."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from models.base import DetectorError, Scores
from models.calibration.levels import hours_of, unbounded
from models.calibration.storage import read_levels
from models.ensemble.parts import parts_of
from models.ensemble.storage import WHOLE
from models.manifest import Manifest
from models.served.base import RowScorer
from models.served.levels import LevelArrays
from models.served.minutes import Minutes

NAME = "ensemble"


@dataclass(frozen=True)
class EnsembleScorer:
    """Served members, each with the columns that it reads."""

    manifest: Manifest
    features: tuple[str, ...]
    _members: tuple[tuple[str, RowScorer, npt.NDArray[np.int64]], ...]
    _levels: LevelArrays

    @classmethod
    def load(cls, folder: Path, members: Sequence[RowScorer]) -> Self:
        """From the folder that `EnsembleDetector.save` wrote, with its members as they are served, in their order.

        Raises:
            DetectorError: the files do not fit this code, or have changed.
        """
        manifest = Manifest.read(folder, detector=NAME)
        levels = read_levels(folder)
        if WHOLE not in levels:
            raise DetectorError(f"{folder} holds no calibration of the ensemble. Train the detector again")
        features = tuple(dict.fromkeys(name for member in members for name in member.features))
        names = [member.manifest.detector for member in members]
        columns = [np.array([features.index(name) for name in member.features]) for member in members]
        placed = tuple(zip(names, members, columns, strict=True))
        return cls(manifest, features, placed, LevelArrays(levels, names))

    def score(self, minutes: Minutes) -> Scores:
        if not len(minutes):
            return np.empty(0)
        return self._levels.scores(self._member_scores(minutes), minutes)

    def hours(self, scores: Scores, minutes: Minutes) -> Scores | None:  # noqa: ARG002 - the same for every symbol
        return hours_of(scores)

    def contributions(self, minutes: Minutes) -> tuple[tuple[str, ...], Scores]:
        members = [member.contributions(minutes.select(at)) for _, member, at in self._members]
        return parts_of(members, self._levels.member_levels(self._member_scores(minutes), minutes).T)

    def _member_scores(self, minutes: Minutes) -> Scores:
        """Members x rows."""
        return np.array([unbounded(name, member.score(minutes.select(at))) for name, member, at in self._members])
