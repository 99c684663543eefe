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
from models.anomaly_classifier.examples import Day, by_people, by_votes, injected
from models.anomaly_classifier.learning import Growth
from models.base import Detector, DetectorError, Scores
from models.baselines.time_of_day import TimeOfDayDetector
from models.ensemble.detector import EnsembleDetector
from models.evaluation import NotJudgedError
from resources.code_version import code_version
from resources.detector_pyfunc import as_pandas
from resources.mlflow_registry import ModelRegistry
from tapewatch.market.derived_tables import COMPARISON
from tapewatch.market.instruments import Partition
from tapewatch.market.label_tables import HUMAN_LABELS, WEAK_LABELS
from tapewatch.market.tables import MICROSTRUCTURE, QUOTES, TRADES
from tapewatch.store.lake.lake import Lake

_EXAMPLE_ROWS = 5


def labelled_minutes(lake: Lake, days: Sequence[Partition], seed: int, config: Mapping[str, Any]) -> pl.DataFrame:
    """Labelled minutes of the training days: injected into copies of the last of them, by people, and by votes.

    Args:
        seed: of the injection.
        config: `anomalies_per_symbol_day`, and of each market the `most_days` and `most_rows` of tape that are copied.
    """
    found = []
    for market in sorted({day.market for day in days}):
        own = [day for day in days if day.market is market]
        copied = _tapes(lake, own[-config["most_days"] :], config["most_rows"])
        found.append(injected(copied, seed=seed, per_symbol=config["anomalies_per_symbol_day"]))
    for day in days:
        minutes = lake.read(MICROSTRUCTURE, day).filter("is_regular")
        if lake.exists(HUMAN_LABELS, day):
            found.append(by_people(minutes, lake.read(HUMAN_LABELS, day)))
        if lake.exists(WEAK_LABELS, day):
            found.append(by_votes(minutes, lake.read(WEAK_LABELS, day)))
    return pl.concat(found)


def _tapes(lake: Lake, days: Sequence[Partition], most_rows: int) -> list[Day]:
    """Trades and quotes of those symbols that fit into `most_rows` over all days, the most active first."""
    counts: dict[str, int] = {}
    for day in days:
        for table in (TRADES, QUOTES):
            for symbol, rows in (lake.symbols(table, day) if lake.exists(table, day) else {}).items():
                counts[symbol] = counts.get(symbol, 0) + rows
    chosen, room = [], most_rows
    for symbol, rows in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if rows <= room:
            chosen.append(symbol)
            room -= rows

    def read(table: Any, day: Partition) -> pl.DataFrame:
        return lake.read(table, day, symbols=chosen) if lake.exists(table, day) else table.empty()

    return [(read(TRADES, day), read(QUOTES, day), day.session) for day in days] if chosen else []


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
    return {
        **_logged(registry, detector, rows, reference, {"hours": hours, "members": ",".join(names)}),
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
    with tempfile.TemporaryDirectory() as folder, registry.run(detector.name, code_version=code_version()) as run:
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
