"""The registered detector: an Isolation Forest (Liu, Ting and Zhou 2008) over evidence for each kind of anomaly."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
from sklearn.ensemble import IsolationForest

from models.attributions import Explanation, attributions_of
from models.base import DetectorError, Scores
from models.calibration.levels import Levels
from models.calibration.rarity import fit_levels, hours_between, stored_levels, write_levels
from models.evidence import DETECTOR_FEATURES, Evidence
from models.isolation_forest.file import read_forest, write_forest
from models.isolation_forest.paths import explainer
from models.manifest import Manifest, described, file_hash
from models.naming import outages
from models.threshold import ALERTS_PER_SYMBOL_HOUR, for_budget
from tapewatch.market.tables.tape import ATTRIBUTIONS

_FOREST, _PROFILE, _TAILS = "forest.skops", "profile.parquet", "tails.parquet"


@dataclass(frozen=True, slots=True)
class ForestParameters:
    """Parameters of the forest and its threshold."""

    trees: int = 200
    samples: int = 1024
    alerts_per_symbol_hour: float = ALERTS_PER_SYMBOL_HOUR


@dataclass(frozen=True)
class _Fitted:
    evidence: Evidence
    forest: IsolationForest
    manifest: Manifest
    levels: Levels | None = None


@dataclass
class IsolationForestDetector:
    """Scores minutes by the number of random cuts that isolate them. Call `fit` or `load` first.

    Rows are MICROSTRUCTURE-shaped: symbol, event_time, known_time, session_minute and `DETECTOR_FEATURES`. Null features count
    as typical, so a symbol without quotes is scored by its trades; an unseen symbol is compared with its market.
    """

    parameters: ForestParameters = field(default_factory=ForestParameters)
    seed: int = 0
    _state: _Fitted | None = field(default=None, repr=False)
    name: str = "isolation_forest"

    @property
    def context_minutes(self) -> int:
        """Each minute is scored from its own row."""
        return 0

    def fit(self, rows: pl.DataFrame, *, partitions: Sequence[str] = ()) -> Self:
        """Fit profile, tails, forest and threshold on `rows` alone.

        Args:
            rows: regular-session minutes; label columns are ignored.
            partitions: their partition keys, for the manifest.

        Raises:
            DetectorError: no rows.
        """
        if rows.is_empty():
            raise DetectorError("no rows to fit the detector on: materialize the training days first")
        evidence, inputs = Evidence.fit(rows, DETECTOR_FEATURES)
        forest = self._forest(inputs)
        # The inputs compare each day with the others, so these are out-of-sample scores.
        scores = -forest.score_samples(inputs)
        threshold = for_budget(scores, self.parameters.alerts_per_symbol_hour)
        levels = fit_levels(self.name, scores, rows)
        self._state = _Fitted(evidence, forest, self._describe(rows, partitions, threshold), levels)
        self.__dict__.pop("_explainer", None)
        return self

    def _forest(self, inputs: Scores) -> IsolationForest:
        samples = min(self.parameters.samples, inputs.shape[0])
        return IsolationForest(n_estimators=self.parameters.trees, max_samples=samples, random_state=self.seed).fit(
            inputs
        )

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
        """Names of the features that the detector reads."""
        return tuple(self._fitted.manifest.features)

    @property
    def forest(self) -> IsolationForest:
        """The fitted forest."""
        return self._fitted.forest

    def inputs(self, rows: pl.DataFrame) -> Scores:
        """The forest's inputs of feature rows (rows x inputs)."""
        return self._fitted.evidence.inputs(rows)

    def score(self, rows: pl.DataFrame) -> Scores:
        """One score a row, 0 to 1, higher where more anomalous; never NaN."""
        if rows.is_empty():
            return np.empty(0)
        return self._score_inputs(self._fitted.evidence.inputs(rows))

    def held_out_scores(self, rows: pl.DataFrame) -> Scores:
        """Scores of the training rows as if their day were new: each is measured from a profile of the other days."""
        return self._score_inputs(self._fitted.evidence.held_out_inputs(rows))

    def hours_between(self, scores: Scores, symbols: pl.Series) -> Scores | None:
        """The hours of ordinary tape between scores as high; None if the training was too short for a calibration."""
        return hours_between(self.name, self._fitted.levels, scores, symbols)

    def scored(self, rows: pl.DataFrame) -> pl.DataFrame:
        """symbol, event_time, known_time, score and is_out (whether the symbol's tape stopped) of each row."""
        evidence = self._fitted.evidence
        surprises = evidence.surprises(rows)
        scores = self._score_inputs(evidence.inputs_of(surprises)) if rows.height else np.empty(0)
        return rows.select("symbol", "event_time", "known_time").with_columns(
            outages(rows, evidence.silence(surprises)), score=pl.Series(scores, dtype=pl.Float64)
        )

    def explain(self, rows: pl.DataFrame) -> pl.DataFrame:
        """An ATTRIBUTIONS frame: for each row every feature's raw value and contribution. A few milliseconds a row."""
        if rows.is_empty():
            return ATTRIBUTIONS.empty()
        return attributions_of(rows, *self.contributions(rows), self.score(rows))

    def contributions(self, rows: pl.DataFrame) -> tuple[tuple[str, ...], Scores]:
        """Names of features, and the contribution of each to a shorter path (rows x features)."""
        return self.features, self._fitted.evidence.to_features(rows, self.explain_inputs(rows).contributions)

    def explain_inputs(self, rows: pl.DataFrame) -> Explanation:
        """SHAP values of the forest's own inputs (Lundberg et al. 2020, path-dependent TreeSHAP); about 2 ms a row.

        The base, minus the mean path length, and a row's sum are minus the row's path length: what is positive raises the score.
        """
        paths = self._explainer.shap_values(self._fitted.evidence.inputs(rows), check_additivity=False)
        # A shorter path is more anomalous.
        return Explanation(-np.asarray(paths, dtype=np.float64), -float(np.ravel(self._explainer.expected_value)[0]))

    def save(self, folder: Path) -> None:
        """Write the forest (skops), profile, tails and levels (Parquet) and the manifest into `folder`, made if need be."""
        state = self._fitted
        folder.mkdir(parents=True, exist_ok=True)
        write_forest(state.forest, folder / _FOREST)
        state.evidence.profile.to_frame().write_parquet(folder / _PROFILE)
        state.evidence.to_frame().write_parquet(folder / _TAILS)
        files = {name: file_hash(folder / name) for name in (_FOREST, _PROFILE, _TAILS)}
        files |= write_levels(folder, self.name, state.levels)
        Manifest(**{**vars(state.manifest), "files": files}).write(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The detector as saved; its scores are bit-identical.

        Raises:
            DetectorError: the files in `folder` do not fit this code, or have changed.
        """
        folder = Path(folder)
        manifest = Manifest.read(folder, detector=cls.name)
        try:
            evidence = Evidence.from_frames(
                *(pl.read_parquet(folder / name, glob=False) for name in (_PROFILE, _TAILS))
            )
        except ValueError as error:
            raise DetectorError(f"{folder} cannot be used: {error}") from error
        forest = read_forest(folder / _FOREST)
        parameters = ForestParameters(
            int(manifest.parameters["trees"]), int(manifest.parameters["samples"]), manifest.alert_budget
        )
        return cls(parameters, manifest.seed, _Fitted(evidence, forest, manifest, stored_levels(folder, cls.name)))

    @property
    def _fitted(self) -> _Fitted:
        if self._state is None:
            raise DetectorError("the detector has not been fitted: call fit or load first")
        return self._state

    @cached_property
    def _explainer(self) -> Any:
        return explainer(self._fitted.forest)

    def _score_inputs(self, inputs: Scores) -> Scores:
        return np.asarray(-self._fitted.forest.score_samples(inputs), dtype=np.float64)

    def _describe(self, rows: pl.DataFrame, partitions: Sequence[str], threshold: float) -> Manifest:
        return described(
            self.name,
            [feature.name for feature in DETECTOR_FEATURES],
            rows,
            partitions,
            threshold=threshold,
            alert_budget=self.parameters.alerts_per_symbol_hour,
            seed=self.seed,
            parameters={"trees": self.parameters.trees, "samples": self.parameters.samples},
        )
