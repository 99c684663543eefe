"""The baseline: how far a minute's most unusual feature is from its usual value at that time of day."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from models.attributions import attributions_of
from models.base import DetectorError, Scores
from models.evidence import DETECTOR_FEATURES
from models.manifest import Manifest, described, file_hash
from models.naming import OUTAGE_S
from models.profile import Profile, held_out_deviations
from models.threshold import ALERTS_PER_SYMBOL_HOUR, for_budget
from tapewatch.market.tables.tape import ATTRIBUTIONS

_PROFILE = "profile.parquet"
#: Deviation of the silence of an outage, in scales.
_OUT = 5.0
_SILENCE = next(at for at, feature in enumerate(DETECTOR_FEATURES) if feature.name == "tape_age_s")
#: Whether a deviation above, or below, the usual value is a sign of an anomaly.
_UP, _DOWN = (
    np.array([kind is not None for kind in kinds], dtype=np.float64)
    for kinds in ([f.high for f in DETECTOR_FEATURES], [f.low for f in DETECTOR_FEATURES])
)


@dataclass
class TimeOfDayDetector:
    """Scores minutes by the greatest deviation among the features, in robust scales of the symbol's half hour. Call `fit` or `load`.

    A direction to which the catalog gives no kind of anomaly is no deviation. Null features count as usual.
    """

    alerts_per_symbol_hour: float = ALERTS_PER_SYMBOL_HOUR
    seed: int = 0
    _state: tuple[Profile, Manifest] | None = field(default=None, repr=False)
    name: str = "time_of_day"

    @property
    def context_minutes(self) -> int:
        """Each minute is scored from its own row."""
        return 0

    def fit(self, rows: pl.DataFrame, *, partitions: Sequence[str] = ()) -> Self:
        """Fit the profile on `rows`, and the threshold on deviations of each day from the other days.

        Raises:
            DetectorError: no rows.
        """
        if rows.is_empty():
            raise DetectorError("no rows to fit the detector on: materialize the training days first")
        scores = _signs(held_out_deviations(rows, DETECTOR_FEATURES)).max(axis=1)
        manifest = described(
            self.name,
            [feature.name for feature in DETECTOR_FEATURES],
            rows,
            partitions,
            threshold=for_budget(scores, self.alerts_per_symbol_hour),
            alert_budget=self.alerts_per_symbol_hour,
            seed=self.seed,
            parameters={},
        )
        self._state = Profile.fit(rows, DETECTOR_FEATURES), manifest
        return self

    @property
    def manifest(self) -> Manifest:
        """How the detector came about; `files` is empty until saved."""
        return self._fitted[1]

    @property
    def threshold(self) -> float:
        """A score at or above it is anomalous."""
        return self.manifest.threshold

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features that the detector reads."""
        return tuple(self.manifest.features)

    def deviations(self, rows: pl.DataFrame) -> Scores:
        """Deviations that count, rows x features, not negative."""
        return _signs(self._fitted[0].standardise(rows))

    def score(self, rows: pl.DataFrame) -> Scores:
        """The greatest deviation of each row, 0 to 30; never NaN."""
        return np.asarray(self.deviations(rows).max(axis=1)) if rows.height else np.empty(0)

    def held_out_scores(self, rows: pl.DataFrame) -> Scores:
        """Scores of the training rows, each measured from a profile of the other days."""
        return np.asarray(_signs(held_out_deviations(rows, DETECTOR_FEATURES)).max(axis=1))

    def hours_between(self, scores: Scores, symbols: pl.Series) -> Scores | None:  # noqa: ARG002
        """None: a baseline has no calibration."""
        return None

    def scored(self, rows: pl.DataFrame) -> pl.DataFrame:
        """symbol, event_time, known_time, score and is_out (whether the symbol's tape stopped) of each row."""
        found = self.deviations(rows) if rows.height else np.empty((0, len(self.features)))
        is_out = (rows["tape_age_s"].to_numpy() >= OUTAGE_S) & (found[:, _SILENCE] >= _OUT)
        return rows.select("symbol", "event_time", "known_time").with_columns(
            score=pl.Series(found.max(axis=1, initial=0.0), dtype=pl.Float64),
            is_out=pl.Series(is_out, dtype=pl.Boolean),
        )

    def contributions(self, rows: pl.DataFrame) -> tuple[tuple[str, ...], Scores]:
        """Names of features; the greatest deviation is the score, the others contribute nothing (rows x features)."""
        found = self.deviations(rows)
        is_greatest = np.arange(found.shape[1]) == found.argmax(axis=1)[:, None]
        return self.features, np.where(is_greatest, found, 0.0)

    def explain(self, rows: pl.DataFrame) -> pl.DataFrame:
        """An ATTRIBUTIONS frame: a row's contributions add up to its score."""
        return (
            attributions_of(rows, *self.contributions(rows), self.score(rows)) if rows.height else ATTRIBUTIONS.empty()
        )

    def save(self, folder: Path) -> None:
        """Write the profile (Parquet) and the manifest into `folder`, made if need be."""
        folder.mkdir(parents=True, exist_ok=True)
        self._fitted[0].to_frame().write_parquet(folder / _PROFILE)
        Manifest(**{**vars(self.manifest), "files": {_PROFILE: file_hash(folder / _PROFILE)}}).write(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The detector as saved; its scores are bit-identical.

        Raises:
            DetectorError: the files in `folder` do not fit this code, or have changed.
        """
        manifest = Manifest.read(Path(folder), detector=cls.name)
        profile = Profile.from_frame(pl.read_parquet(Path(folder) / _PROFILE, glob=False))
        return cls(manifest.alert_budget, manifest.seed, (profile, manifest))

    @property
    def _fitted(self) -> tuple[Profile, Manifest]:
        if self._state is None:
            raise DetectorError("the detector has not been fitted: call fit or load first")
        return self._state


def _signs(deviations: Scores) -> Scores:
    return np.maximum(np.where(deviations > 0, deviations * _UP, -deviations * _DOWN), 0.0)
