"""The detector: fitted on the earlier days, evaluated on the later ones, champion if it passes every gate."""

from typing import Any

import dagster as dg
import polars as pl
from pydantic import BaseModel

from assets.models.validation import validation_days
from assets.shared.about import about, about_table
from assets.shared.config import config_of, plain
from assets.shared.shown import table_of
from assets.tape.loading import warn
from models.base import CHAMPIONS_OF_MINUTES
from resources.lake import LakeResource, LakeTable, png
from resources.stores import ModelRegistryResource
from tapewatch.labels.training.splits import split_days
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.tape import EVALUATION, TRAINING_SET

#: Name of the experiment and of the registered model.
MODEL = "isolation_forest"
#: Further experiments and registered models.
CLASSIFIER, ENSEMBLE = "anomaly_classifier", "ensemble"
MINUTES = CHAMPIONS_OF_MINUTES


class TrainingConfig(BaseModel):
    """The data and parameters of the training; by default all days in the lake of every market."""

    markets: list[str] = []
    first: str = ""
    last: str = ""
    validation_share: float = 0.4
    trees: int = 200
    seed: int = 7

    def choose(self, partitions: list[Partition]) -> list[Partition]:
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
    config_schema=plain(TrainingConfig),
)
def isolation_forest(
    context: dg.AssetExecutionContext,
    training_set: LakeTable,
    model_registry: ModelRegistryResource,
) -> dict[str, Any]:
    """Fit on the earlier days of the window, and log the detector and its inputs to MLflow."""
    config = config_of(context, TrainingConfig)
    from assets.models import training  # noqa: PLC0415 - takes seconds to import

    filled = [p for p in training_set.partitions() if training_set.lake.rows(TRAINING_SET, p)]
    training_days, validating = split_days(config.choose(filled), config.validation_share)
    rows = pl.concat(training_set.read(partition) for partition in training_days)
    days = {"train": [str(p) for p in training_days], "validation": [str(p) for p in validating]}
    registry = model_registry.open()
    fitted = training.fit(registry, MODEL, rows, days, config.model_dump())
    training.log_data(registry, MODEL, fitted.run_id, training_set, days)
    context.add_output_metadata(
        {
            "rows": rows.height,
            "training_days": len(training_days),
            "validation_days": len(validating),
            "threshold": fitted.threshold,
            "mlflow_run": dg.MetadataValue.url(registry.run_url(fitted.run_id)),
            "scores": png(fitted.scores),
        }
    )
    return {"run_id": fitted.run_id, "model_uri": fitted.model_uri, "seed": config.seed, **days}


@dg.asset(
    **about_table(EVALUATION, "mlflow"),
    ins={"isolation_forest": dg.AssetIn(["models", "isolation_forest"])},
    deps=[["tape", "trades"], ["tape", "quotes"], ["tape", "bars"], ["labels", "truth_labels"]],
)
def evaluation(
    context: dg.AssetExecutionContext,
    isolation_forest: dict[str, Any],
    lake: LakeResource,
    model_registry: ModelRegistryResource,
) -> pl.DataFrame:
    """What the detector and a trivial rule find in the validation days, compared to true or injected anomalies."""
    from assets.models import training  # noqa: PLC0415 - as above
    from tapewatch.trading.feedback import performance_by  # noqa: PLC0415 - SciPy

    partitions = [Partition.parse(key) for key in isolation_forest["validation"]]
    days = validation_days(lake.open(), partitions, isolation_forest["seed"])
    registry = model_registry.open()
    result = training.validate(registry, MODEL, isolation_forest, days)
    facts: dict[str, Any] = {name: png(image) for name, image in result.plots.items()}
    facts["mlflow_run"] = dg.MetadataValue.url(registry.run_url(isolation_forest["run_id"]))
    facts["bets_by_kind"] = table_of(performance_by(result.bets, "kind", "regime"))
    if result.not_judged:
        warn(context, f"not judged: {result.not_judged}")
        facts["not_judged"] = result.not_judged
    context.add_output_metadata({"origin_of_truth": days.origin, **result.metrics, **facts})
    return result.by_kind


@dg.asset_check(
    asset=["models", "evaluation"],
    name="beats_trivial_rule",
    description="Average precision above that of the rule: volume over three times its recent mean.",
    additional_ins={"isolation_forest": dg.AssetIn(["models", "isolation_forest"])},
    blocking=True,
)
def beats_trivial_rule(isolation_forest: dict[str, Any], model_registry: ModelRegistryResource) -> dg.AssetCheckResult:
    """A detector that is proven worse than a trivial rule is not registered; one that may be no better, or was not judged, warns."""
    metrics = model_registry.open().metrics(isolation_forest["run_id"])
    if "average_precision" not in metrics:
        counts = {name: metrics[name] for name in ("minutes", "anomalous_minutes") if name in metrics}
        return dg.AssetCheckResult(
            passed=False,
            severity=dg.AssetCheckSeverity.WARN,
            description="not judged: the validation days hold no anomalous minute, or nothing else; run over more days",
            metadata=counts,
        )
    beaten = metrics["average_precision"] > metrics["rule_average_precision"]
    # Few anomalies say little: only what the 95 % interval of the gain proves worse is refused.
    is_worse = metrics.get("average_precision_gain_high", 0.0) <= 0.0
    return dg.AssetCheckResult(
        passed=beaten,
        severity=dg.AssetCheckSeverity.ERROR if is_worse else dg.AssetCheckSeverity.WARN,
        metadata={k: v for k, v in metrics.items() if "precision" in k},
    )
