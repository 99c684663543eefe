"""The scan: a detector of bins of five seconds, fitted and judged on whole days."""

from typing import Any

import dagster as dg
import polars as pl

from assets.models.forest import TrainingConfig
from assets.shared.about import about, about_table
from assets.shared.config import config_of, plain
from assets.tape.loading import warn
from models.base import DetectorError
from models.scan.tail import HOURS
from resources.lake import LakeTable, png
from resources.stores import DatabaseResource, ModelRegistryResource
from tapewatch.labels.training.splits import split_days
from tapewatch.market.tables.derived import BINS_5S, SCAN_EVALUATION

#: Name of the experiment and of the registered model.
SCAN = "scan"


class ScanConfig(TrainingConfig):
    """The days of the training, how often ordinary tape may raise an alert, and how much of the tape is copied to learn from.

    Of each market `copies` days are made, with anomalies in the most active symbols that `most_rows` of tape hold; none by 0.
    """

    hours: float = HOURS
    copies: int = 9
    most_rows: int = 6_000_000


@dg.asset(
    **about(
        "models", SCAN, "Ten causal statistics of five-second bins, calibrated on ordinary days.", "numba", "mlflow"
    ),
    ins={"bins_5s": dg.AssetIn(["features", "bins_5s"])},
    deps=[["labels", "truth_labels"], ["tape", "trades"], ["tape", "quotes"]],
    io_manager_key="reference_io",
    config_schema=plain(ScanConfig),
)
def scan(
    context: dg.AssetExecutionContext, bins_5s: LakeTable, model_registry: ModelRegistryResource
) -> dict[str, Any]:
    """Fit on the earlier days of the window, known anomalies left out and others put into copies, and log the detector to MLflow.

    Without two days of trades or quotes of a market there is no scan: the reason is a warning, and the run goes on.
    """
    from assets.models import scanning  # noqa: PLC0415 - takes seconds to import

    config = config_of(context, ScanConfig)
    filled = [p for p in bins_5s.partitions() if bins_5s.lake.rows(BINS_5S, p)]
    if not filled:
        return _not_fitted(context, "it judges trades and quotes, and the lake has neither")
    registry = model_registry.open()
    try:
        training, validating = split_days(config.choose(filled), config.validation_share)
        days = {"train": [str(p) for p in training], "validation": [str(p) for p in validating]}
        fitted = scanning.fit(registry, SCAN, bins_5s.lake, training, days, config.model_dump())
    except (DetectorError, ValueError) as error:
        return _not_fitted(context, str(error))
    run = dg.MetadataValue.url(registry.run_url(fitted["run_id"]))
    context.add_output_metadata({"mlflow_run": run, "markets": sorted(fitted["markets"]), **days})
    return {**fitted, "seed": config.seed, **days}


def _not_fitted(context: dg.AssetExecutionContext, why: str) -> dict[str, Any]:
    warn(context, f"no scan was fitted: {why}")
    return {"not_fitted": why}


@dg.asset(
    **about_table(SCAN_EVALUATION, "mlflow"),
    ins={"scan": dg.AssetIn(["models", "scan"]), "bins_5s": dg.AssetIn(["features", "bins_5s"])},
    deps=[["tape", "trades"], ["tape", "quotes"], ["labels", "truth_labels"]],
)
def scan_evaluation(
    context: dg.AssetExecutionContext,
    scan: dict[str, Any],
    bins_5s: LakeTable,
    model_registry: ModelRegistryResource,
) -> pl.DataFrame:
    """What the scan finds of true or injected anomalies in the validation days, and its false alerts."""
    from assets.models import scanning  # noqa: PLC0415 - as above
    from models.plots import scan_recall_by_kind  # noqa: PLC0415

    if "not_fitted" in scan:
        return SCAN_EVALUATION.empty()
    result = scanning.validate(model_registry.open(), SCAN, bins_5s.lake, scan)
    facts: dict[str, Any] = {name: round(value, 4) for name, value in result.metrics.items()}
    if result.by_kind["recall"].count():
        facts["recall_by_kind"] = png(scan_recall_by_kind(result.by_kind))
    context.add_output_metadata(facts)
    return result.by_kind


@dg.asset(
    **about("models", "scan_champion", "The registered scan in use, by its alias in MLflow.", "mlflow"),
    ins={"scan": dg.AssetIn(["models", "scan"])},
    deps=[["models", "scan_evaluation"]],
    io_manager_key="reference_io",
)
def scan_champion(
    context: dg.AssetExecutionContext,
    scan: dict[str, Any],
    model_registry: ModelRegistryResource,
    database: DatabaseResource,
) -> dict[str, Any]:
    """Register the new scan; make it the champion unless the current one did clearly better; hand it to the collectors.

    Where no scan could be fitted, the champion stays as it is.
    """
    from assets.models import scan_in_use  # noqa: PLC0415 - as above

    if "not_fitted" in scan:
        return scan
    registry = model_registry.open()
    champion, reason = scan_in_use.promote(registry, database.open(), SCAN, scan)
    scan_in_use.hand_over(registry, champion, model_registry.champion_file(SCAN))
    run = dg.MetadataValue.url(registry.run_url(champion.run_id))
    context.add_output_metadata({"champion": champion.version, "mlflow_run": run, "reason": reason})
    return {"name": champion.name, "version": champion.version, "run_id": champion.run_id}
