"""What classifier, autoencoder and ensemble find on the forest's validation days."""

from typing import Any

import dagster as dg
import polars as pl

from assets.models.forest import CLASSIFIER, ENSEMBLE, MODEL
from assets.models.validation import validation_days
from assets.shared.about import about_table
from assets.tape.loading import warn
from resources.lake import LakeResource, png
from resources.stores import ModelRegistryResource
from tapewatch.market.instruments import Partition
from tapewatch.market.tables.derived import COMPARISON


@dg.asset(
    **about_table(COMPARISON, "mlflow"),
    ins={name: dg.AssetIn(["models", name]) for name in (MODEL, CLASSIFIER, "lstm_autoencoder", ENSEMBLE)},
    deps=[["tape", "trades"], ["tape", "quotes"], ["tape", "bars"], ["labels", "truth_labels"]],
)
def comparison(
    context: dg.AssetExecutionContext,
    isolation_forest: dict[str, Any],
    anomaly_classifier: dict[str, Any],
    lstm_autoencoder: dict[str, Any],
    ensemble: dict[str, Any],
    lake: LakeResource,
    model_registry: ModelRegistryResource,
) -> pl.DataFrame:
    """What classifier, autoencoder and ensemble find in the forest's validation days.

    Classifier and ensemble pass the gates beside their champions; the ensemble is also held against the forest of this training.
    """
    from assets.models import combining  # noqa: PLC0415 - takes seconds to import
    from models.plots import recall_by_kind  # noqa: PLC0415

    partitions = [Partition.parse(key) for key in isolation_forest["validation"]]
    references = {CLASSIFIER: anomaly_classifier, "lstm_autoencoder": lstm_autoencoder, ENSEMBLE: ensemble}
    fitted = {name: reference for name, reference in references.items() if "run_id" in reference}
    if not fitted:
        return COMPARISON.empty()
    days = validation_days(lake.open(), partitions, isolation_forest["seed"])
    table, not_judged = combining.compare(model_registry.open(), fitted, days, forest=isolation_forest)
    if not_judged:
        warn(context, f"not judged: {not_judged}")
    of_ensemble = table.filter(pl.col("detector").cast(pl.String) == ENSEMBLE)
    if of_ensemble.height:
        context.add_output_metadata({"recall_by_kind": png(recall_by_kind(of_ensemble.drop("detector")))})
    return table
