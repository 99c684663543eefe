"""Fits, evaluates and explains the detector, and logs each step to MLflow. Slow to import: assets import it as they run."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import polars as pl

from assets.models.promoting import Scored, judge_candidate
from assets.models.traded import metrics_of
from assets.models.validation import ValidationDays
from models.base import Detector, Scores
from models.evaluation import Evaluation, NotJudgedError, evaluate
from models.isolation_forest.detector import ForestParameters, IsolationForestDetector
from models.plots import beeswarm, precision_recall, recall_by_kind, score_distribution
from models.rules import volume_ratio
from resources.detector_pyfunc import as_pandas
from resources.lake import LakeTable
from resources.mlflow_registry import ModelRegistry
from resources.model_logging import log_inputs
from tapewatch.market.schema import Table
from tapewatch.market.tables.signals import OUTCOMES
from tapewatch.market.tables.tape import EVALUATION
from tapewatch.reports.attributions import attributions_html

_EXAMPLE_ROWS = 5


@dataclass(frozen=True)
class Fitted:
    """A detector logged to MLflow, and a plot (PNG) of its scores of the training rows."""

    run_id: str
    model_uri: str
    threshold: float
    scores: bytes


def fit(
    registry: ModelRegistry, name: str, rows: pl.DataFrame, days: Mapping[str, Sequence[str]], config: dict[str, Any]
) -> Fitted:
    """Fit an Isolation Forest on `rows`, and log it and its inputs to the experiment `name`.

    Args:
        days: partition keys under `train` (those of `rows`) and `validation`.
        config: the run's configuration; `trees` and `seed` are the forest's.

    Raises:
        DetectorError: no rows.
    """
    detector = IsolationForestDetector(ForestParameters(trees=config["trees"]), config["seed"]).fit(
        rows, partitions=days["train"]
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        registry.training(name, days, config["seed"]) as run,
    ):
        detector.save(Path(folder))
        mlflow.log_params({**config, "rows": rows.height, "features": len(detector.features)})
        mlflow.log_dict(dict(days), "partitions.json")
        scores = detector.score(rows)
        mlflow.log_metrics(
            {"threshold": detector.threshold, "train_alert_share": float((scores >= detector.threshold).mean())}
        )
        model_uri = registry.log_detector(Path(folder), *as_pandas(detector, rows.head(_EXAMPLE_ROWS)))
        registry.log_onnx(detector, rows)
    return Fitted(run.info.run_id, model_uri, detector.threshold, score_distribution(scores, detector.threshold))


def log_data(
    registry: ModelRegistry,
    name: str,
    run_id: str,
    source: LakeTable,
    days: Mapping[str, Sequence[str]],
    further: Sequence[Table] = (),
) -> None:
    """Log the partitions that a run was fitted and judged on, with their hashes; of `further` tables those of the training days."""
    with registry.run(name, run_id=run_id):
        log_inputs(source.lake, source.table, days, further)


@dataclass(frozen=True)
class ValidationResult:
    """What a detector found, by kind (EVALUATION) and as metrics, and plots (PNG) by name.

    `not_judged` says why there is nothing to judge; `by_kind` and `plots` are then empty. `bets` are the OUTCOMES of bets after
    its alerts.
    """

    by_kind: pl.DataFrame
    metrics: dict[str, float]
    plots: dict[str, bytes]
    not_judged: str | None = None
    bets: pl.DataFrame = field(default_factory=OUTCOMES.empty)


def validate(
    registry: ModelRegistry, name: str, reference: Mapping[str, Any], days: ValidationDays
) -> ValidationResult:
    """Evaluate the detector of `reference` and the current champion of `name` on `days`; log the result to its run."""
    scored = Scored.of(registry, name, reference, days)
    judge_candidate(registry, name, reference, scored)
    try:
        result = evaluated(scored.candidate, days, scored.score)
    except NotJudgedError as error:
        counts = {"minutes": float(error.minutes), "anomalous_minutes": float(error.anomalous_minutes)}
        with registry.run(name, run_id=reference["run_id"]):
            mlflow.log_metrics(counts)
        return ValidationResult(EVALUATION.empty(), counts, {}, str(error), scored.bets)
    plots = {"precision_recall": precision_recall(result), "recall_by_kind": recall_by_kind(result.by_kind)}
    metrics = {metric: float(value) for metric, value in result.metrics.items()} | metrics_of(scored.bets)
    if scored.champion is not None:
        of_champion = evaluated(scored.champion, days, scored.champion_score)
        metrics["champion_average_precision"] = of_champion.metrics["average_precision"]
    with registry.run(name, run_id=reference["run_id"]):
        mlflow.log_metrics(metrics)
        for plot, image in plots.items():
            registry.log_png(image, f"{plot}.png")
    return ValidationResult(result.by_kind, metrics, plots, bets=scored.bets)


def log_attributions(registry: ModelRegistry, name: str, run_id: str, attributions: pl.DataFrame) -> bytes:
    """Log a page and a plot of an ATTRIBUTIONS frame to a detector's run; returns the plot (PNG)."""
    swarm = beeswarm(attributions)
    with registry.run(name, run_id=run_id):
        registry.log_png(swarm, "shap_beeswarm.png")
        mlflow.log_text(attributions_html(attributions), "shap.html")
    return swarm


def evaluated(detector: Detector, days: ValidationDays, score: Scores | None = None) -> Evaluation:
    """What a detector of minutes finds in `days`, beside the trivial rule; `score` is given where it was computed before.

    Raises:
        NotJudgedError: no minute is anomalous, or all are.
    """
    scored = days.rows.select("symbol", "event_time", "known_time").with_columns(
        score=pl.Series(detector.score(days.rows) if score is None else score), rule_score=volume_ratio(days.rows)
    )
    return evaluate(scored, days.truth, threshold=detector.threshold, truth=days.origin)
