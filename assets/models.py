"""The detector: fitted on the earlier days, judged on the later ones, crowned if it is no worse than the champion."""

import tempfile
from pathlib import Path
from typing import Any

import dagster as dg
import mlflow
import polars as pl

from assets.about import about, about_table
from assets.validation import ValidationDays, split_days, validation_days
from models.evaluation import Evaluation, evaluate
from models.isolation_forest import ForestParameters, IsolationForestDetector
from models.plots import precision_recall, recall_by_kind, score_distribution
from models.rules import volume_ratio
from resources.code_version import code_version
from resources.detector_pyfunc import as_pandas
from resources.lake import LakeResource, LakeTable, png
from resources.registry import ModelRegistryResource
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables import EVALUATION

#: Name of the experiment and of the registered model.
MODEL = "isolation_forest"
_EXAMPLE_ROWS = 5


class TrainingConfig(dg.Config):
    """What the detector learns from. By default: all days in the lake of every market."""

    markets: list[str] = []  # noqa: RUF012
    first: str = ""
    last: str = ""
    validation_share: float = 0.4
    trees: int = 200
    seed: int = 7

    def choose(self, partitions: list[Partition]) -> list[Partition]:
        """The partitions of the wanted markets and days."""
        wanted = {Market(market) for market in self.markets} or set(Market)
        return [
            p
            for p in partitions
            if p.market in wanted and (self.first or "0000") <= str(p.date) <= (self.last or "9999")
        ]


@dg.asset(
    **about(
        "models", "isolation_forest", "Isolation Forest on robustly scaled microstructure.", "scikitlearn", "mlflow"
    ),
    ins={"training_set": dg.AssetIn(["labels", "training_set"])},
    io_manager_key="reference_io",
)
def isolation_forest(
    context: dg.AssetExecutionContext,
    config: TrainingConfig,
    training_set: LakeTable,
    model_registry: ModelRegistryResource,
) -> dict[str, Any]:
    """Fit on the earlier days of the window and log the detector to MLflow with all that made it."""
    learn, judge = split_days(config.choose(training_set.partitions()), config.validation_share)
    rows = pl.concat(training_set.read(partition) for partition in learn)
    partitions = [str(partition) for partition in learn]
    detector = IsolationForestDetector(ForestParameters(trees=config.trees), config.seed).fit(
        rows, partitions=partitions
    )
    with tempfile.TemporaryDirectory() as folder, model_registry.run(MODEL, code_version=code_version()) as run:
        detector.save(Path(folder))
        mlflow.log_params({**config.model_dump(), "rows": rows.height, "features": len(detector.features)})
        mlflow.log_dict({"train": partitions, "validation": [str(p) for p in judge]}, "partitions.json")
        scores = detector.score(rows)
        mlflow.log_metrics(
            {"threshold": detector.threshold, "train_alert_share": float((scores >= detector.threshold).mean())}
        )
        example = rows.head(_EXAMPLE_ROWS)
        model_uri = model_registry.log_detector(Path(folder), *as_pandas(detector, example))
    context.add_output_metadata(
        {
            "rows": rows.height,
            "threshold": detector.threshold,
            "mlflow_run": run.info.run_id,
            "scores": png(score_distribution(scores, detector.threshold)),
        }
    )
    return {
        "run_id": run.info.run_id,
        "model_uri": model_uri,
        "seed": config.seed,
        "train": partitions,
        "validation": [str(partition) for partition in judge],
    }


@dg.asset(
    **about_table(EVALUATION, "mlflow"),
    ins={"isolation_forest": dg.AssetIn(["models", "isolation_forest"])},
    deps=[["tape", "trades"], ["tape", "quotes"], ["labels", "truth_labels"]],
)
def evaluation(
    context: dg.AssetExecutionContext,
    isolation_forest: dict[str, Any],
    lake: LakeResource,
    model_registry: ModelRegistryResource,
) -> pl.DataFrame:
    """What detector and trivial rule find in the validation days, by the source's truth or by injected anomalies."""
    partitions = [Partition.parse(key) for key in isolation_forest["validation"]]
    days = validation_days(lake.open(), partitions, isolation_forest["seed"])
    detector = model_registry.load(isolation_forest["model_uri"])
    result = _judge(detector, days)
    plots = {"precision_recall": precision_recall(result), "recall_by_kind": recall_by_kind(result.by_kind)}
    metrics = {name: float(value) for name, value in result.metrics.items()}
    reigning = model_registry.champion(MODEL)
    if reigning is not None:
        rival = _judge(model_registry.load(reigning.uri), days)
        metrics["champion_average_precision"] = rival.metrics["average_precision"]
    with model_registry.run(MODEL, run_id=isolation_forest["run_id"]):
        mlflow.log_metrics(metrics)
        for name, image in plots.items():
            model_registry.log_png(image, f"{name}.png")
    pictures = {name: png(image) for name, image in plots.items()}
    context.add_output_metadata({"origin_of_truth": days.origin, **metrics, **pictures})
    return result.by_kind


@dg.asset(
    **about("models", "champion", "The registered detector that scores, by its alias in MLflow.", "mlflow"),
    ins={"isolation_forest": dg.AssetIn(["models", "isolation_forest"])},
    deps=[["models", "evaluation"]],
    io_manager_key="reference_io",
)
def champion(
    context: dg.AssetExecutionContext, isolation_forest: dict[str, Any], model_registry: ModelRegistryResource
) -> dict[str, Any]:
    """Register the new detector; crown it unless the reigning one did better on the same validation days."""
    run_id = isolation_forest["run_id"]
    metrics = model_registry.metrics(run_id)
    registered = model_registry.register(MODEL, isolation_forest["model_uri"], run_id)
    reigning = metrics.get("champion_average_precision")
    if reigning is None or metrics["average_precision"] >= reigning:
        model_registry.crown(MODEL, int(registered.version))
    crowned = model_registry.champion(MODEL)
    if crowned is None:
        raise dg.Failure(f"MLflow holds no champion of {MODEL} although version {registered.version} was crowned")
    context.add_output_metadata(
        {"candidate": int(registered.version), "champion": crowned.version, "mlflow_run": crowned.run_id, **metrics}
    )
    return {"name": crowned.name, "version": crowned.version, "run_id": crowned.run_id}


def _judge(detector: IsolationForestDetector, days: ValidationDays) -> Evaluation:
    scored = days.rows.select("symbol", "event_time", "known_time").with_columns(
        score=pl.Series(detector.score(days.rows)), rule_score=volume_ratio(days.rows)
    )
    return evaluate(scored, days.truth, threshold=detector.threshold, truth=days.origin)
