"""Fits and judges classifier and ensemble and logs them to MLflow. Slow to import: the assets import it as they run."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
import polars as pl

from assets.models.forest import CLASSIFIER, ENSEMBLE
from assets.models.promoting import Scored, judge_candidate
from assets.models.training import evaluated
from assets.models.validation import ValidationDays
from models.anomaly_classifier.detector import AnomalyClassifierDetector
from models.anomaly_classifier.learning import Growth
from models.base import Detector, DetectorError, Scores
from models.baselines.time_of_day import TimeOfDayDetector
from models.ensemble.detector import EnsembleDetector
from models.evaluation import NotJudgedError
from resources.detector_pyfunc import as_pandas
from resources.mlflow_registry import ModelRegistry
from tapewatch.market.tables.derived import COMPARISON

_EXAMPLE_ROWS = 5


def fit_classifier(
    registry: ModelRegistry,
    rows: pl.DataFrame,
    labelled: pl.DataFrame,
    reference: Mapping[str, Any],
    config: Mapping[str, Any],
) -> dict[str, Any]:
    """Fit a classifier on the training days of `reference`, and log it.

    Raises:
        DetectorError: too little to learn from.
    """
    detector = AnomalyClassifierDetector(Growth(iterations=config["iterations"]), reference["seed"])
    detector.fit(rows, partitions=reference["train"], labelled=labelled)
    facts = {"labelled_minutes": labelled.height, **config}
    return _logged(registry, detector, rows, reference, facts)


def fit_ensemble(
    registry: ModelRegistry,
    rows: pl.DataFrame,
    references: Mapping[str, Mapping[str, Any]],
    members: Sequence[str],
    hours: float,
) -> dict[str, Any]:
    """Fit an ensemble of those `members` that were fitted, and log it.

    Args:
        references: of fitted detectors by name; the first is that of the forest, whose days `rows` are.

    Raises:
        DetectorError: no such member, an unknown one, or too few minutes.
    """
    unknown = sorted(set(members) - {*references, TimeOfDayDetector.name})
    if unknown:
        raise DetectorError(
            f"{', '.join(unknown)} cannot be a member: choose from {', '.join((*references, TimeOfDayDetector.name))}"
        )
    reference = next(iter(references.values()))
    found: list[Detector] = []
    for name in members:
        if name == TimeOfDayDetector.name:
            found.append(TimeOfDayDetector().fit(rows, partitions=reference["train"]))
        elif "model_uri" in references[name]:
            found.append(registry.load_any(references[name]["model_uri"]))
    detector = EnsembleDetector(tuple(found), hours, reference["seed"]).fit(rows, partitions=reference["train"])
    names = [member.name for member in found]
    runs = {f"run_of/{name}": references[name]["run_id"] for name in names if name in references}
    return {
        **_logged(registry, detector, rows, reference, {"hours": hours, "members": ",".join(names), **runs}),
        "members": names,
    }


def _logged(
    registry: ModelRegistry,
    detector: Detector,
    rows: pl.DataFrame,
    reference: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """Log a fitted detector, its ONNX graphs and `facts` to the experiment of its name."""
    days = {key: list(reference[key]) for key in ("train", "validation")}
    with tempfile.TemporaryDirectory() as folder, registry.training(detector.name, days, reference["seed"]) as run:
        detector.save(Path(folder))
        mlflow.log_params({**facts, "seed": reference["seed"], "rows": rows.height, "features": len(detector.features)})
        mlflow.log_dict(days, "partitions.json")
        mlflow.log_metric("threshold", detector.threshold)
        model_uri = registry.log_detector(Path(folder), *as_pandas(detector, rows.head(_EXAMPLE_ROWS)))
        registry.log_onnx(detector, rows)
    return {
        "run_id": run.info.run_id,
        "model_uri": model_uri,
        "threshold": detector.threshold,
        "seed": reference["seed"],
        **days,
    }


def compare(
    registry: ModelRegistry,
    references: Mapping[str, Mapping[str, Any]],
    days: ValidationDays,
    *,
    forest: Mapping[str, Any] | None = None,
) -> tuple[pl.DataFrame, str]:
    """What each fitted detector finds in `days` (COMPARISON), and why nothing was judged, if so.

    Classifier and ensemble pass the gates, and their metrics and the average precision of the champion of their name are logged to
    their runs.

    Args:
        forest: reference of the forest of these days, which scores minutes where no ensemble does.
    """
    tables, not_judged = [COMPARISON.empty()], ""
    for name, reference in references.items():
        scored = Scored.of(registry, name, reference, days)
        is_candidate = name in (CLASSIFIER, ENSEMBLE)
        if is_candidate:
            judge_candidate(
                registry, name, reference, scored, _rival(registry, forest, days) if name == ENSEMBLE else None
            )
        try:
            result = evaluated(scored.candidate, days, scored.score)
        except NotJudgedError as error:
            not_judged = str(error)
            continue
        metrics = {metric: float(value) for metric, value in result.metrics.items()}
        if scored.champion is not None and is_candidate:
            of_champion = evaluated(scored.champion, days, scored.champion_score)
            metrics["champion_average_precision"] = of_champion.metrics["average_precision"]
        if is_candidate:
            with registry.run(name, run_id=reference["run_id"]):
                mlflow.log_metrics(metrics)
        tables.append(COMPARISON.conform(result.by_kind.with_columns(detector=pl.lit(name))))
    return pl.concat(tables), not_judged


def _rival(
    registry: ModelRegistry, forest: Mapping[str, Any] | None, days: ValidationDays
) -> tuple[Detector, Scores] | None:
    if forest is None:
        return None
    detector = registry.load_any(forest["model_uri"])
    return detector, detector.score(days.rows)
