"""The classifier as a detector: the probability that a minute is anomalous, its kind, and whether it can tell."""

import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl

from models.anomaly_classifier.examples import ordinary
from models.anomaly_classifier.learning import Calibration, Growth, grow, grow_kinds, probability
from models.anomaly_classifier.prepared import Prepared, as_float32
from models.anomaly_classifier.trees import Trees
from models.attributions import Explanation, attributions_of
from models.base import DetectorError, Scores
from models.calibration.levels import Levels
from models.calibration.rarity import fit_levels, hours_between, stored_levels, write_levels
from models.evidence import DETECTOR_FEATURES, Evidence, Sign
from models.manifest import Manifest, described, file_hash
from models.naming import outages
from models.profile import group_names
from models.threshold import ALERTS_PER_SYMBOL_HOUR, for_budget
from tapewatch.market.tables.tape import ATTRIBUTIONS

_TREES, _PROFILE, _TAILS, _HELD_OUT = "trees.npz", "profile.parquet", "tails.parquet", "held_out.parquet"
_FILES = (_TREES, _PROFILE, _TAILS, _HELD_OUT)
#: Held-out anomalous minutes that the classifier may call ordinary, as a share.
_MISSED = 0.1
#: A kind is named if it has at least this share among the kinds: a wrong name costs more than none.
_NAMED = 0.9


@dataclass(frozen=True)
class _Fitted:
    evidence: Evidence
    trees: Trees
    kind_trees: Trees | None
    kinds: tuple[str, ...]
    calibration: Calibration
    ordinary_below: float
    held_out: pl.DataFrame
    manifest: Manifest
    levels: Levels | None = None


@dataclass
class AnomalyClassifierDetector:
    """Scores minutes by their probability of being anomalous. Call `fit` or `load` first.

    Rows are MICROSTRUCTURE-shaped: symbol, event_time, known_time, session_minute and `features`; each is scored from itself alone.
    Of markets without labelled anomalies in training nothing is said: their scores are 0.
    """

    growth: Growth = field(default_factory=Growth)
    seed: int = 0
    alerts_per_symbol_hour: float = ALERTS_PER_SYMBOL_HOUR
    _state: _Fitted | None = field(default=None, repr=False)
    name: str = "anomaly_classifier"

    @property
    def context_minutes(self) -> int:
        """Each minute is scored from its own row."""
        return 0

    def fit(self, rows: pl.DataFrame, *, partitions: Sequence[str] = (), labelled: pl.DataFrame | None = None) -> Self:
        """Fit inputs, trees, calibration and threshold.

        The days are in up to three groups. A booster is grown for each on the other two; its margins of the group calibrate the
        probabilities and set the threshold. Scores come from the mean of the boosters. Of a single day the halves are the groups.

        Args:
            rows: regular-session minutes, ordinary but for those with `is_anomaly`.
            partitions: their partition keys, for the manifest.
            labelled: rows with `kind` and `weight` (`examples.py`).

        Raises:
            DetectorError: too few minutes of either kind, no feature with a value, or nothing that tells them apart.
        """
        data = Prepared.of(rows, ordinary(rows).clear() if labelled is None else labelled, DETECTOR_FEATURES)
        grown = grow(data.inputs, data.is_anomaly, data.weight, data.fold, data.spans, self.growth, self.seed)
        calibration = Calibration.fit(grown.margin, data.is_anomaly, data.weight)
        kinds = data.rows["kind"].filter(data.is_anomaly)
        kind_trees, names = grow_kinds(
            data.inputs[data.is_anomaly], kinds, data.weight[data.is_anomaly], self.growth, self.seed
        )
        chances = probability(calibration.log_odds(grown.margin))
        self._state = _Fitted(
            data.evidence,
            grown.trees,
            kind_trees,
            names,
            calibration,
            float(np.quantile(chances[data.is_anomaly], _MISSED)),
            data.rows.select("symbol", "event_time").with_columns(score=pl.Series(chances)).filter(data.is_own),
            self._describe(rows, partitions, for_budget(chances[data.is_own], self.alerts_per_symbol_hour)),
            fit_levels(self.name, chances[data.is_own], data.rows.filter(data.is_own)),
        )
        return self

    @property
    def manifest(self) -> Manifest:
        """How the detector came about; `files` is empty until saved."""
        return self._fitted.manifest

    @property
    def threshold(self) -> float:
        """A probability at or above it is anomalous."""
        return self._fitted.manifest.threshold

    @property
    def ordinary_below(self) -> float:
        """A probability at or below it is ordinary; between it and `threshold` the classifier abstains."""
        return min(self._fitted.ordinary_below, self.threshold)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features that the detector reads."""
        return tuple(self._fitted.manifest.features)

    @property
    def signs(self) -> tuple[Sign, ...]:
        """What the trees' inputs are surprises of, in their order."""
        return self._fitted.evidence.signs

    @property
    def trees(self) -> Trees:
        """The boosters, an output each."""
        return self._fitted.trees

    @property
    def calibration(self) -> Calibration:
        """From the boosters' mean margin to log odds."""
        return self._fitted.calibration

    def inputs(self, rows: pl.DataFrame) -> Scores:
        """The trees' inputs of feature rows: surprises (rows x signs)."""
        return as_float32(self._fitted.evidence.surprises(rows))

    def log_odds(self, inputs: Scores) -> Scores:
        """Calibrated log odds of inputs."""
        return self._fitted.calibration.log_odds(self._fitted.trees.margins(inputs).mean(axis=1))

    def score(self, rows: pl.DataFrame) -> Scores:
        """The probability of each row, 0 to 1; never NaN."""
        return self._chances(rows, self.inputs(rows)) if rows.height else np.empty(0)

    def held_out_scores(self, rows: pl.DataFrame) -> Scores:
        """Scores of the training rows by the booster that their day was left out of; NaN for rows that did not train."""
        known = rows.select(pl.col("symbol").cast(pl.String), "event_time")
        held_out = self._fitted.held_out.unique(["symbol", "event_time"], keep="first")
        found = known.join(held_out, on=["symbol", "event_time"], how="left", maintain_order="left")
        return found["score"].fill_null(float("nan")).to_numpy()

    def hours_between(self, scores: Scores, symbols: pl.Series) -> Scores | None:
        """The hours of ordinary tape between scores as high; None if the training was too short for a calibration."""
        return hours_between(self.name, self._fitted.levels, scores, symbols)

    def scored(self, rows: pl.DataFrame) -> pl.DataFrame:
        """symbol, event_time, known_time, score, is_out (whether the symbol's tape stopped) and kind of each row.

        `kind` is what the row is if it is anomalous; null where no kind is clearly the likeliest.
        """
        inputs = self.inputs(rows) if rows.height else np.empty((0, len(self._fitted.evidence.signs)))
        return rows.select("symbol", "event_time", "known_time").with_columns(
            outages(rows, self._fitted.evidence.silence(inputs)),
            score=pl.Series(self._chances(rows, inputs), dtype=pl.Float64),
            kind=self._kinds(inputs),
        )

    def verdicts(self, rows: pl.DataFrame) -> pl.DataFrame:
        """symbol, event_time, probability, is_anomaly and kind of each row.

        `is_anomaly` is null where the classifier abstains: between `ordinary_below` and the threshold, and in markets that it never
        learnt. `kind` is null for what is not anomalous, and where no kind is clearly the likeliest.
        """
        chances = self.score(rows)
        verdict = pl.DataFrame({"probability": chances, "is_learnt": self._is_learnt(rows)}).select(
            "probability",
            is_anomaly=pl.when(~pl.col("is_learnt"))
            .then(None)
            .when(pl.col("probability") >= self.threshold)
            .then(statement=True)
            .when(pl.col("probability") <= self.ordinary_below)
            .then(statement=False),
        )
        kinds = self._kinds(self.inputs(rows)) if rows.height else pl.Series([], dtype=pl.String)
        return (
            rows.select("symbol", "event_time")
            .with_columns(*verdict.get_columns(), kinds.alias("kind"))
            .with_columns(kind=pl.when("is_anomaly").then("kind"))
        )

    def explain(self, rows: pl.DataFrame) -> pl.DataFrame:
        """An ATTRIBUTIONS frame: each feature's SHAP value of the log odds (`explain_inputs`)."""
        if rows.is_empty():
            return ATTRIBUTIONS.empty()
        return attributions_of(rows, *self.contributions(rows), self.score(rows))

    def contributions(self, rows: pl.DataFrame) -> tuple[tuple[str, ...], Scores]:
        """Names of features, and the SHAP value of each (rows x features)."""
        of_signs, at = self.explain_inputs(rows).contributions, {name: i for i, name in enumerate(self.features)}
        found = np.zeros((rows.height, len(at)))
        for i, sign in enumerate(self._fitted.evidence.signs):
            found[:, at[sign.feature.name]] += of_signs[:, i]
        return self.features, found

    @property
    def impurity_importance(self) -> dict[str, float]:
        """The mean decrease of impurity (MDI): the share of each feature in what all splits improve, by its inputs."""
        signs = self._fitted.evidence.signs
        found = dict.fromkeys(self.features, 0.0)
        for sign, improvement in zip(signs, self._fitted.trees.improvements(len(signs)), strict=True):
            found[sign.feature.name] += float(improvement)
        total = sum(found.values()) or 1.0
        return {name: improvement / total for name, improvement in found.items()}

    def explain_inputs(self, rows: pl.DataFrame) -> Explanation:
        """SHAP values of the inputs (Lundberg et al. 2020, path-dependent TreeSHAP): a row's sum and the base are its log odds."""
        found, base = self._fitted.trees.contributions(self.inputs(rows))
        calibration = self._fitted.calibration
        return Explanation(calibration.slope * found, calibration.slope * base + calibration.offset)

    def save(self, folder: Path) -> None:
        """Write trees (npz), profile, tails, held-out scores and levels (Parquet) and the manifest into `folder`, made if need be."""
        state = self._fitted
        folder.mkdir(parents=True, exist_ok=True)
        arrays = state.trees.arrays("anomaly_") | (state.kind_trees.arrays("kind_") if state.kind_trees else {})
        further: dict[str, Any] = {
            "calibration": [state.calibration.slope, state.calibration.offset],
            "below": state.ordinary_below,
        }
        np.savez(folder / _TREES, kinds=np.array(state.kinds, dtype=np.str_), **further, **arrays)
        state.evidence.profile.to_frame().write_parquet(folder / _PROFILE)
        state.evidence.to_frame().write_parquet(folder / _TAILS)
        state.held_out.write_parquet(folder / _HELD_OUT)
        files = {name: file_hash(folder / name) for name in _FILES}
        files |= write_levels(folder, self.name, state.levels)
        Manifest(**{**vars(state.manifest), "files": files}).write(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The detector as saved; its scores are bit-identical. scikit-learn is not needed.

        Raises:
            DetectorError: the files in `folder` do not fit this code, or have changed.
        """
        folder = Path(folder)
        manifest = Manifest.read(folder, detector=cls.name)
        try:
            with np.load(folder / _TREES, allow_pickle=False) as file:
                kinds = tuple(str(each) for each in file["kinds"])
                trees, kind_trees = Trees.of_arrays(file, "anomaly_"), Trees.of_arrays(file, "kind_") if kinds else None
                calibration, below = Calibration(*map(float, file["calibration"])), float(file["below"])
            profile, tails, held_out = (pl.read_parquet(folder / name, glob=False) for name in _FILES[1:])
            evidence = Evidence.from_frames(profile, tails)
        except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
            raise DetectorError(f"{folder} cannot be used: {error}. Train the detector again") from error
        stored = manifest.parameters
        growth = Growth(
            int(stored["iterations"]), int(stored["leaves"]), stored["rate"], int(stored["kind_iterations"])
        )
        levels = stored_levels(folder, cls.name)
        state = _Fitted(evidence, trees, kind_trees, kinds, calibration, below, held_out, manifest, levels)
        return cls(growth, manifest.seed, manifest.alert_budget, state)

    @property
    def _fitted(self) -> _Fitted:
        if self._state is None:
            raise DetectorError("the detector has not been fitted: call fit or load first")
        return self._state

    def _is_learnt(self, rows: pl.DataFrame) -> Scores:
        learnt = self._fitted.evidence.markets
        return np.array([name in learnt for name in group_names(rows["symbol"])], dtype=np.bool_)

    def _chances(self, rows: pl.DataFrame, inputs: Scores) -> Scores:
        return np.where(self._is_learnt(rows), probability(self.log_odds(inputs)), 0.0)

    def _kinds(self, inputs: Scores) -> pl.Series:
        state = self._fitted
        if state.kind_trees is None:
            return pl.Series([None] * len(inputs), dtype=pl.String)
        margins = state.kind_trees.margins(inputs)
        odds = np.exp(margins - margins.max(axis=1, keepdims=True))
        share = odds / odds.sum(axis=1, keepdims=True)
        best = share.argmax(axis=1)
        return pl.Series(
            [state.kinds[at] if chance >= _NAMED else None for at, chance in zip(best, share.max(axis=1), strict=True)],
            dtype=pl.String,
        )

    def _describe(self, rows: pl.DataFrame, partitions: Sequence[str], threshold: float) -> Manifest:
        return described(
            self.name,
            [feature.name for feature in DETECTOR_FEATURES],
            rows,
            partitions,
            threshold=threshold,
            alert_budget=self.alerts_per_symbol_hour,
            seed=self.seed,
            parameters=asdict(self.growth),
        )
