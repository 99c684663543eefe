"""The detectors of the injection benchmark, each fitted on clean days, with a threshold that is fixed then.

The scan is set to one alert of ordinary tape in 2.5 hours of a symbol and the ensemble to one in 6.5; Isolation Forest, classifier and time of day to the house's budget of
minutes. Of the others the threshold is what the peaks of the last clean day reach once in 390 minutes. Classifier, ensemble and scan also learn
from anomalies put into copies of the clean days, in other realisations than some of those that they are judged on.
"""

import importlib
import importlib.util
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.detectors.kinds_tapes import Tape, Trial
from models.anomaly_classifier.detector import AnomalyClassifierDetector
from models.base import Detector
from models.baselines.time_of_day import TimeOfDayDetector
from models.ensemble.detector import EnsembleDetector
from models.events import merge_anomalies
from models.evidence import DETECTOR_FEATURES
from models.isolation_forest.detector import IsolationForestDetector
from models.rules import VOLUME_RATIO, volume_ratio
from models.scan.detector import ScanDetector
from tapewatch.market.tables.tape import ATTRIBUTIONS

Floats = npt.NDArray[np.float64]
Found = pl.DataFrame
#: Alerts of one symbol this close are one.
_APART_MINUTES = 10
#: Alerts of two detectors this close to each other are of one event.
_JOINED = pl.duration(minutes=2)
_FEATURES = [feature.name for feature in DETECTOR_FEATURES]
_CLIP = 20.0


class Fitted(Protocol):
    """Finds incidents (symbol, start_time, end_time, known_time, kind) in a day."""

    def __call__(self, tape: Tape, /) -> Found: ...


@dataclass(frozen=True)
class Entry:
    """A detector by name; `fit` learns from a trial's clean days, and from its labelled minutes where it can."""

    name: str
    fit: Callable[[Trial], Fitted]


def _scan(trial: Trial) -> Fitted:
    scan = ScanDetector.fit(trial.days)
    return lambda tape: _columns(scan.incidents(tape.bins, tape.session))


def _minutes(trial: Trial) -> pl.DataFrame:
    return pl.concat(tape.minutes for tape in trial.fitted)


def _named(detector: Detector) -> Fitted:
    def find(tape: Tape) -> Found:
        scored = detector.scored(tape.minutes)
        none = ATTRIBUTIONS.empty()
        return _columns(merge_anomalies(scored, none, tape.minutes, threshold=detector.threshold, model=""))

    return find


def _forest(trial: Trial) -> Fitted:
    return _named(IsolationForestDetector().fit(_minutes(trial)))


def _time_of_day(trial: Trial) -> Fitted:
    return _named(TimeOfDayDetector().fit(_minutes(trial)))


def _classifier(trial: Trial) -> Fitted:
    return _named(AnomalyClassifierDetector().fit(_minutes(trial), labelled=trial.labelled))


def _ensemble(trial: Trial) -> Fitted:
    minutes = _minutes(trial)
    classifier = AnomalyClassifierDetector().fit(minutes, labelled=trial.labelled)
    return _named(EnsembleDetector((IsolationForestDetector().fit(minutes), classifier)).fit(minutes))


def _together(trial: Trial) -> Fitted:
    """What the platform raises: alerts of scan and ensemble, each at its budget; those of a symbol that meet are one, of the scan's kind."""
    scan, ensemble = _scan(trial), _ensemble(trial)

    def find(tape: Tape) -> Found:
        both = pl.concat([scan(tape).with_columns(order=0), ensemble(tape).with_columns(order=1)])
        latest = pl.col("end_time").cum_max().shift(1).over("symbol")
        is_apart = (pl.col("start_time") > latest + _JOINED).fill_null(value=True)
        return _columns(
            both.sort("symbol", "start_time")
            .with_columns(alert=is_apart.cum_sum())
            .group_by("symbol", "alert", maintain_order=True)
            .agg(
                pl.col("start_time").min(), pl.col("end_time").max(), pl.col("known_time").min(),
                kind=pl.col("kind").sort_by("order").first(),
            )
        )  # fmt: skip

    return find


def without(trial: Trial, kind: str) -> Trial:
    """The trial without labelled minutes, and labelled anomalies of copies, of a kind."""
    is_other = pl.col("kind").cast(pl.String) != kind
    days = [
        replace(day, copies=tuple((bins, known.filter(is_other)) for bins, known in day.copies)) for day in trial.days
    ]
    return replace(trial, labelled=trial.labelled.filter(is_other), days=days)


def _rule(_: Trial) -> Fitted:
    def find(tape: Tape) -> Found:
        return _alerts(tape.minutes, volume_ratio(tape.minutes).to_numpy(), VOLUME_RATIO)

    return find


def _columns(found: pl.DataFrame) -> Found:
    return found.select(pl.col("symbol", "kind").cast(pl.String), "start_time", "end_time", "known_time")


def _alerts(minutes: pl.DataFrame, scores: Floats, threshold: float) -> Found:
    """Minutes above a threshold, those of a symbol within ten minutes as one alert without a kind."""
    flagged = (
        minutes.select(pl.col("symbol").cast(pl.String), "event_time", "known_time")
        .with_columns(score=pl.Series(scores))
        .filter(pl.col("score") > threshold)
        .sort("symbol", "event_time")
    )
    apart = pl.col("event_time").diff().over("symbol") > pl.duration(minutes=_APART_MINUTES)
    return (
        flagged.with_columns(alert=apart.fill_null(value=True).cum_sum())
        .group_by("symbol", "alert", maintain_order=True)
        .agg(
            start_time=pl.col("event_time").first(),
            end_time=pl.col("known_time").last(),
            known_time=pl.col("known_time").first(),
            kind=pl.lit(""),
        )
        .select("symbol", "kind", "start_time", "end_time", "known_time")
    )


@dataclass(frozen=True)
class _Scaling:
    """Features of minutes in robust units of their symbol; a missing value is 0."""

    middle: pl.DataFrame

    @classmethod
    def of(cls, minutes: pl.DataFrame) -> "_Scaling":
        by_symbol = minutes.group_by(pl.col("symbol").cast(pl.String)).agg(
            *(pl.col(name).median().alias(f"{name} m") for name in _FEATURES),
            *((pl.col(name).quantile(0.75) - pl.col(name).quantile(0.25)).alias(f"{name} w") for name in _FEATURES),
        )
        return cls(by_symbol)

    def applied(self, minutes: pl.DataFrame) -> Floats:
        both = minutes.with_columns(pl.col("symbol").cast(pl.String)).join(
            self.middle, on="symbol", how="left", maintain_order="left"
        )
        columns = []
        for name in _FEATURES:
            values, middle, width = (
                both[each].cast(pl.Float64).to_numpy() for each in (name, f"{name} m", f"{name} w")
            )
            with np.errstate(invalid="ignore", divide="ignore"):
                scaled = (values - middle) / np.where(width > 0, width, np.nan)
            columns.append(np.clip(np.nan_to_num(scaled), -_CLIP, _CLIP))
        return np.column_stack(columns)


Scorer = Callable[[Floats], Floats]


def _of_minutes(learn: Callable[[Floats], Scorer]) -> Callable[[Trial], Fitted]:
    """A detector of minutes: fitted on all clean days but the last, on which its threshold is set."""

    def fit(trial: Trial) -> Fitted:
        days = trial.fitted
        minutes = pl.concat(tape.minutes for tape in days[:-1])
        scaling = _Scaling.of(minutes)
        score = learn(scaling.applied(minutes))
        last = days[-1]
        threshold = _threshold(last, score(scaling.applied(last.minutes)))
        return lambda tape: _alerts(tape.minutes, score(scaling.applied(tape.minutes)), threshold)

    return fit


def _threshold(tape: Tape, scores: Floats) -> float:
    """The score that a symbol's alerts exceed once in 390 minutes."""
    wanted = tape.symbol_minutes / 390
    low, high = float(scores.min()), float(scores.max())
    for _ in range(40):
        middle = 0.5 * (low + high)
        if _alerts(tape.minutes, scores, middle).height > wanted or np.mean(scores > middle) > 0.1:
            low = middle
        else:
            high = middle
    return high


def _pyod(module: str, name: str, **parameters: Any) -> Callable[[Floats], Scorer]:
    def learn(rows: Floats) -> Scorer:
        model = getattr(importlib.import_module(f"pyod.models.{module}"), name)(**parameters)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(rows)
        return lambda values: np.asarray(model.decision_function(values), dtype=np.float64)

    return learn


def _half_space_trees(rows: Floats) -> Scorer:
    anomaly = importlib.import_module("river.anomaly")
    model = anomaly.HalfSpaceTrees(n_trees=25, height=8, window_size=250, seed=1)
    names = list(map(str, range(rows.shape[1])))

    def within(row: Floats) -> dict[str, float]:
        return dict(zip(names, ((row + _CLIP) / (2 * _CLIP)).tolist(), strict=True))

    for row in rows:
        model.learn_one(within(row))
    # Frozen after the clean days: it would otherwise learn the anomalies that it is judged on.
    return lambda values: np.array([model.score_one(within(row)) for row in values])


#: Those that learn from labels.
LEARNT = (Entry("classifier", _classifier), Entry("ensemble", _ensemble), Entry("scan", _scan))
_OWN = (
    Entry("volume rule", _rule),
    Entry("time of day", _time_of_day),
    Entry("isolation forest", _forest),
    *LEARNT,
    Entry("scan or ensemble", _together),
)
_OTHERS = (
    ("pyod", Entry("PyOD ECOD", _of_minutes(_pyod("ecod", "ECOD")))),
    ("pyod", Entry("PyOD COPOD", _of_minutes(_pyod("copod", "COPOD")))),
    ("pyod", Entry("PyOD KNN", _of_minutes(_pyod("knn", "KNN")))),
    ("pyod", Entry("PyOD IForest", _of_minutes(_pyod("iforest", "IForest", random_state=1)))),
    ("river", Entry("river HST", _of_minutes(_half_space_trees))),
)


def entries(names: Sequence[str] | None = None) -> tuple[list[Entry], list[str]]:
    """The detectors whose packages are installed, and the names of those that are not."""
    found, missing = list(_OWN), []
    for package, entry in _OTHERS:
        if importlib.util.find_spec(package) is None:
            missing.append(entry.name)
        else:
            found.append(entry)
    return [entry for entry in found if names is None or entry.name in names], missing
