"""The ensemble as a detector: the mean of its members' levels, on a scale of hours between alerts."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from models.attributions import attributions_of
from models.base import Detector, DetectorError, Scores
from models.calibration.levels import Levels, declared, hours_of, score_of, threshold_of, unbounded
from models.calibration.storage import LEVELS, frame_of, read_levels
from models.ensemble.parts import Contributions, parts_of
from models.ensemble.storage import MEMBERS, WHOLE, member_folders
from models.loading import load_detector
from models.manifest import Manifest, described, file_hash
from tapewatch.market.tables.tape import ATTRIBUTIONS

#: One alert in so many hours of a symbol's tape: once a session of stocks.
HOURS = 6.5


@dataclass(frozen=True)
class _Fitted:
    members: tuple[Detector, ...]
    levels: dict[str, Levels]
    manifest: Manifest


@dataclass
class EnsembleDetector:
    """Combines fitted detectors of minutes. Call `fit` or `load` first.

    A member's level says how rarely ordinary tape of that market reaches its score (`calibration.py`). The margin is the mean of the
    levels, of members that judge the market. The score is 0 to 1 and means the same for every symbol: h / (h + 6.5), where ordinary
    tape of one symbol reaches the margin once in h hours.

    Rows are MICROSTRUCTURE-shaped, with the members' features; each minute is scored from what its members read.
    """

    members: tuple[Detector, ...] = ()
    hours: float = HOURS
    seed: int = 0
    _state: _Fitted | None = field(default=None, repr=False)
    name: str = "ensemble"
    #: Members that do not judge (`without`).
    absent: frozenset[str] = frozenset()

    @property
    def context_minutes(self) -> int:
        """The most that a member reads."""
        return max((member.context_minutes for member in self._fitted.members), default=0)

    def fit(self, rows: pl.DataFrame, *, partitions: Sequence[str] = ()) -> Self:
        """Calibrate members and ensemble on `rows`, those on which the members were fitted.

        Each day is scored as if it were new (`held_out_scores`). Minutes with `is_anomaly`, and ten after them, are left out of what is
        ordinary. The threshold follows from `hours` alone.

        Raises:
            DetectorError: no members, two of one name, or too few ordinary minutes.
        """
        threshold = threshold_of(self.hours)
        names = [member.name for member in self.members]
        if not names or len(set(names)) < len(names):
            raise DetectorError(f"an ensemble needs members of different names, and has {names or 'none'}")
        keys = rows.select("symbol", "event_time")
        is_ordinary = ~declared(rows)
        levels: dict[str, Levels] = {}
        margins = []
        for member in self.members:
            scores = unbounded(member.name, member.held_out_scores(rows))
            levels[member.name] = Levels.fit(np.where(is_ordinary, scores, np.nan), keys)
            margins.append(levels[member.name].of(scores, rows["symbol"], is_pooled=False))
        margin = _mean(np.column_stack(margins))
        levels[WHOLE] = Levels.fit(np.where(is_ordinary, margin, np.nan), keys)
        if not levels[WHOLE].by_market:
            raise DetectorError(
                "the training days hold too few ordinary minutes to calibrate the ensemble: train on more days"
            )
        self._state = _Fitted(self.members, levels, self._describe(rows, partitions, threshold))
        return self

    @property
    def manifest(self) -> Manifest:
        """How the detector came about; `files` is empty until saved."""
        return self._fitted.manifest

    @property
    def threshold(self) -> float:
        """A score at or above it is anomalous."""
        return self._fitted.manifest.threshold

    @property
    def features(self) -> tuple[str, ...]:
        """The columns that the members read."""
        return tuple(dict.fromkeys(name for member in self._fitted.members for name in member.features))

    @property
    def levels(self) -> dict[str, Levels]:
        """The calibration of each member by name, and of `ensemble`."""
        return self._fitted.levels

    def member_scores(self, rows: pl.DataFrame) -> Scores:
        """The score of each member (rows x members), a probability as log odds; NaN for one that is absent."""
        unknown = np.full(rows.height, np.nan)
        return np.column_stack(
            [
                unknown if member.name in self.absent else unbounded(member.name, member.score(rows))
                for member in self._fitted.members
            ]
        )

    def member_levels(self, scores: Scores, symbols: pl.Series) -> Scores:
        """The levels of members' scores (rows x members); NaN where a member does not judge the market."""
        state = self._fitted
        return np.column_stack(
            [
                state.levels[member.name].of(own, symbols, is_pooled=False)
                for member, own in zip(state.members, scores.T, strict=True)
            ]
        )

    def margin(self, rows: pl.DataFrame) -> Scores:
        """The mean of the members' levels, not negative; 0 where no member judges."""
        return _filled(_mean(self.member_levels(self.member_scores(rows), rows["symbol"])))

    def score(self, rows: pl.DataFrame) -> Scores:
        """One score a row, 0 to 1, higher where more anomalous; never NaN."""
        return self.score_of_members(self.member_scores(rows), rows["symbol"]) if rows.height else np.empty(0)

    def score_of_members(self, scores: Scores, symbols: pl.Series) -> Scores:
        """The score of members' scores: rows x members."""
        return self._score_margin(_filled(_mean(self.member_levels(scores, symbols))), symbols)

    def held_out_scores(self, rows: pl.DataFrame) -> Scores:
        """Scores of the training rows as if their day were new; NaN where no member has one."""
        state = self._fitted
        scores = np.column_stack([unbounded(member.name, member.held_out_scores(rows)) for member in state.members])
        margin = _mean(self.member_levels(scores, rows["symbol"]))
        return np.where(np.isnan(margin), np.nan, self._score_margin(_filled(margin), rows["symbol"]))

    def scored(self, rows: pl.DataFrame) -> pl.DataFrame:
        """symbol, event_time, known_time, score, is_out and kind of each row.

        `is_out` is as the first member says, `kind` as the first that names kinds says; null where none does.
        """
        members = self._fitted.members
        of_members = np.full((rows.height, len(members)), np.nan)
        found = []
        for at, member in enumerate(members):
            if member.name not in self.absent:
                found.append(member.scored(rows))
                of_members[:, at] = unbounded(member.name, found[-1]["score"].to_numpy())
        scores = self.score_of_members(of_members, rows["symbol"]) if rows.height else np.empty(0)
        kind = next((each["kind"] for each in found if "kind" in each.columns), pl.lit(None, pl.String).alias("kind"))
        return rows.select("symbol", "event_time", "known_time").with_columns(
            found[0]["is_out"], kind, score=pl.Series(scores, dtype=pl.Float64)
        )

    def explain(self, rows: pl.DataFrame) -> pl.DataFrame:
        """An ATTRIBUTIONS frame: each feature's part of the margin (`parts_of`). A row's parts add up to its margin."""
        if rows.is_empty():
            return ATTRIBUTIONS.empty()
        scores = self.member_scores(rows)
        names, found = self._parts(rows, scores)
        return attributions_of(rows, names, found, self.score_of_members(scores, rows["symbol"]))

    def contributions(self, rows: pl.DataFrame) -> tuple[tuple[str, ...], Scores]:
        """Names of features, and their parts of each row's margin (rows x features), as of `explain`."""
        return self._parts(rows, self.member_scores(rows))

    def _parts(self, rows: pl.DataFrame, scores: Scores) -> tuple[tuple[str, ...], Scores]:
        nothing: Contributions = ((), np.zeros((rows.height, 0)))
        members = [nothing if m.name in self.absent else m.contributions(rows) for m in self._fitted.members]
        return parts_of(members, self.member_levels(scores, rows["symbol"]))

    def save(self, folder: Path) -> None:
        """Write each member into a folder of `members`, the levels (Parquet) and the manifest into `folder`, made if need be."""
        state = self._fitted
        folder.mkdir(parents=True, exist_ok=True)
        files = []
        for number, member in enumerate(state.members):
            own = Path(MEMBERS) / f"{number}_{member.name}"
            member.save(folder / own)
            files += [f"{own.as_posix()}/{path.name}" for path in sorted((folder / own).iterdir())]
        frame_of(state.levels).write_parquet(folder / LEVELS)
        hashes = {name: file_hash(folder / name) for name in (LEVELS, *files)}
        Manifest(**{**vars(state.manifest), "files": hashes}).write(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The detector as saved; its scores are bit-identical.

        Raises:
            DetectorError: the files in `folder`, or a member's, do not fit this code, or have changed.
        """
        folder = Path(folder)
        manifest = Manifest.read(folder, detector=cls.name)
        members = tuple(load_detector(path) for path in member_folders(folder))
        levels = read_levels(folder)
        whole = {name: levels.get(name, Levels({})) for name in (*(member.name for member in members), WHOLE)}
        return cls(members, manifest.alert_budget, manifest.seed, _Fitted(members, whole, manifest))

    @property
    def _fitted(self) -> _Fitted:
        if self._state is None:
            raise DetectorError("the detector has not been fitted: call fit or load first")
        return self._state

    def without(self, absent: Collection[str]) -> Self:
        """The same ensemble in which some members do not judge: the margin is the mean of the others' levels.

        Raises:
            DetectorError: none is left.
        """
        if {member.name for member in self._fitted.members} <= set(absent):
            raise DetectorError("no member of the ensemble is left")
        return replace(self, absent=frozenset(absent))

    def failing(self, rows: pl.DataFrame) -> dict[str, str]:
        """The members that cannot score `rows`, and why."""
        reasons = {}
        for member in self._fitted.members:
            if member.name not in self.absent:
                try:
                    member.scored(rows)
                except Exception as error:  # noqa: BLE001 - whatever is wrong with it
                    reasons[member.name] = f"{type(error).__name__}: {error}".partition("\n")[0]
        return reasons

    def hours_between(self, scores: Scores, symbols: pl.Series) -> Scores:  # noqa: ARG002
        """Once in how many hours ordinary tape of a symbol scores as high; a million stands for more. The same for every symbol."""
        return hours_of(scores)

    def _score_margin(self, margin: Scores, symbols: pl.Series) -> Scores:
        return score_of(self._fitted.levels[WHOLE].of(margin, symbols, is_pooled=True))

    def _describe(self, rows: pl.DataFrame, partitions: Sequence[str], threshold: float) -> Manifest:
        features = dict.fromkeys(name for member in self.members for name in member.manifest.features)
        return described(
            self.name,
            list(features),
            rows,
            partitions,
            threshold=threshold,
            alert_budget=self.hours,
            seed=self.seed,
            parameters={member.name: float(len(member.features)) for member in self.members},
        )


def _mean(levels: Scores) -> Scores:
    """The mean of each row's known levels (rows x members); NaN without any."""
    known = np.isfinite(levels)
    total = np.where(known, levels, 0.0).sum(axis=1)
    return np.where(known.any(axis=1), total / np.maximum(known.sum(axis=1), 1), np.nan)


def _filled(margin: Scores) -> Scores:
    return np.nan_to_num(margin, nan=0.0)
