"""The scan: bins of five seconds, a detector fitted and judged on whole days, and the incidents that it finds."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl
from pydantic import BaseModel

from assets.about import about, about_days, about_table
from assets.checks import Checked, commit_days
from assets.config import config_of, plain
from assets.models import TrainingConfig
from resources.lake import LakeTable
from resources.stores import ModelRegistryResource
from tapewatch.features.bins.batch import bins_5s as bins_of
from tapewatch.labels.splits import split_days
from tapewatch.market.derived_tables import BINS_5S, INCIDENTS, SCAN_EVALUATION
from tapewatch.market.instruments import Partition
from tapewatch.store.lake.tape import symbol_batches

#: Name of the experiment and of the registered model.
SCAN = "scan"


class ScanConfig(TrainingConfig):
    """The days of the training, and how often ordinary tape may raise an alert."""

    hours: float = 6.5


class IncidentsConfig(BaseModel):
    """Which registered scan to use, as `scan/3`; by default the champion."""

    model: str = ""


@dg.asset(
    **about_days(BINS_5S, "numba"),
    ins={"trades": dg.AssetIn(["tape", "trades"])},
    deps=[["tape", "quotes"], ["tape", "stream_batches"]],
)
def bins_5s(context: dg.AssetExecutionContext, trades: LakeTable) -> Checked:
    """What every symbol's tape did in bins of five seconds, a few symbols in memory at a time."""

    def frames(partition: Partition) -> Iterator[pl.DataFrame]:
        return (bins_of(*tape, partition.session) for tape in symbol_batches(trades.lake, partition))

    yield from commit_days(context, BINS_5S, trades.lake, frames)


@dg.asset(
    **about(
        "models", SCAN, "Ten causal statistics of five-second bins, calibrated on ordinary days.", "numba", "mlflow"
    ),
    ins={"bins_5s": dg.AssetIn(["features", "bins_5s"])},
    deps=[["labels", "truth_labels"]],
    io_manager_key="reference_io",
    config_schema=plain(ScanConfig),
)
def scan(
    context: dg.AssetExecutionContext, bins_5s: LakeTable, model_registry: ModelRegistryResource
) -> dict[str, Any]:
    """Fit on the earlier days of the window, known anomalies left out, and log the detector to MLflow."""
    from assets import scanning  # noqa: PLC0415 - takes seconds to import

    config = config_of(context, ScanConfig)
    training, validating = split_days(config.choose(bins_5s.partitions()), config.validation_share)
    days = {"train": [str(p) for p in training], "validation": [str(p) for p in validating]}
    fitted = scanning.fit(model_registry.open(), SCAN, bins_5s.lake, training, days, config.model_dump())
    context.add_output_metadata({"mlflow_run": fitted["run_id"], "markets": sorted(fitted["markets"]), **days})
    return {**fitted, "seed": config.seed, **days}


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
    from assets import scanning  # noqa: PLC0415 - as above

    result = scanning.validate(model_registry.open(), SCAN, bins_5s.lake, scan)
    context.add_output_metadata({name: round(value, 4) for name, value in result.metrics.items()})
    return result.by_kind


@dg.asset(
    **about("models", "scan_champion", "The registered scan in use, by its alias in MLflow.", "mlflow"),
    ins={"scan": dg.AssetIn(["models", "scan"])},
    deps=[["models", "scan_evaluation"]],
    io_manager_key="reference_io",
)
def scan_champion(
    context: dg.AssetExecutionContext, scan: dict[str, Any], model_registry: ModelRegistryResource
) -> dict[str, Any]:
    """Register the new scan; make it the champion unless the current one did clearly better on the same days."""
    from assets import scanning  # noqa: PLC0415 - as above

    champion, reason = scanning.promote(model_registry.open(), SCAN, scan)
    context.add_output_metadata({"champion": champion.version, "mlflow_run": champion.run_id, "reason": reason})
    return {"name": champion.name, "version": champion.version, "run_id": champion.run_id}


@dg.asset(
    **about_days(INCIDENTS, "numba"),
    ins={"bins_5s": dg.AssetIn(["features", "bins_5s"])},
    deps=[["models", "scan_champion"]],
    config_schema=plain(IncidentsConfig),
)
def incidents(
    context: dg.AssetExecutionContext,
    bins_5s: LakeTable,
    model_registry: ModelRegistryResource,
) -> Checked:
    """What the scan finds, one row for all kinds within ten minutes of a symbol."""
    from assets import scanning  # noqa: PLC0415 - as above

    find = scanning.finder(model_registry.open(), SCAN, config_of(context, IncidentsConfig).model)
    if find is None:
        raise dg.Failure("there is no champion of the scan yet: run the job train_detectors first")
    yield from commit_days(context, INCIDENTS, bins_5s.lake, lambda day: find(bins_5s.read(day), day))
